"""The numerics of a process that runs a heavy stage: threads, deterministic kernels, attention kernels, compilation.

Within one numerics domain (device, torch version, precision, ranks, attention kernel, and on CPUs threads) two
processes compute the same bits, unless the runtime asks for the "fastest" kernels:
- "deterministic" is torch's strict mode. Read in the source of torch 2.13: only in strict mode, not when it merely
  warns, do the backward passes of flash and memory-efficient attention add in a fixed order, and only then is cuDNN's
  attention, which has no such order, passed over. An operation that has no deterministic kernel raises and is named,
  instead of making a resumed run differ silently. Inductor takes no decision that bits depend on by timing kernels:
  it pads no product and keeps one configuration for each reduction.
- "fastest" lifts all of it on a GPU. On a CPU nothing would be gained, so a CPU is deterministic always.

Attention runs the first of these that accepts its inputs: FlashAttention 3 (Hopper) or 4 (Blackwell) where its package
is installed (both obey strict mode), then torch's own order: cuDNN where its version is trusted (Hopper and Blackwell
with cuDNN newer than 9.15.0), flash, memory-efficient, the plain formula. `attention_kernel` names the one taken. A
compiled graph keeps the kernel that was chosen when it was made, so all this is fixed once, before the first step.
"""

from __future__ import annotations

import os

import torch
from torch.nn.attention import (
    SDPBackend,
    activate_flash_attention_impl,
    current_flash_attention_impl,
    list_flash_attention_impls,
)

from core.model.transformer import Transformer
from core.stages.runtime import Kernels

FLASH_ATTENTION = {9: "FA3", 10: "FA4"}  # major compute capability -> the fastest of torch's pluggable ones

# Graphs of one run: training and measuring, each with and without positions, for whole, halved and remaining
# micro-batches; 10 were seen. Torch's own limit is 8, and passing it is an error when one graph is asked for.
MAXIMUM_GRAPHS = 64

CPU_COMPILED_FLOPS = 3e13  # five minutes of two cores, in which a sixth of the time saved is five times the compiler's


def fix_numerics(kernels: Kernels) -> None:
    """Choose threads and kernels for the rest of this process; call it before anything runs on a GPU."""
    threads = os.environ.get("OMP_NUM_THREADS")
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(int(threads) if threads else max(1, (os.cpu_count() or 1) // ranks))
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    on_gpu = torch.cuda.is_available()
    torch.use_deterministic_algorithms(kernels == "deterministic" or not on_gpu)
    if on_gpu:
        torch._inductor.config.deterministic = kernels == "deterministic"
        _prefer_pluggable_attention(torch.cuda.get_device_capability()[0])


def attention_kernel(model: Transformer) -> str:
    """Name the kernel that a training step's attention runs on now, such as "flash (FA3)" or "cudnn"."""
    architecture, table = model.architecture, model.transformer.wte.weight
    query, key = (
        torch.empty(
            (1, heads, architecture.sequence_length, architecture.head_width),
            dtype=table.dtype,
            device=table.device,
            requires_grad=True,
        )
        for heads in (architecture.heads, architecture.key_value_heads)
    )
    grouped = architecture.heads != architecture.key_value_heads
    choice = SDPBackend(torch._fused_sdp_choice(query, key, key, is_causal=True, enable_gqa=grouped))
    name = choice.name.removesuffix("_ATTENTION").lower()
    plugged = current_flash_attention_impl() if choice == SDPBackend.FLASH_ATTENTION else None
    return f"{name} ({plugged})" if plugged else name


def compile_where_it_pays(model: Transformer, device: torch.device, flops: float) -> None:
    """Compile the trunk in place, as one graph for each shape: on CUDA, and on a processor in a run of many `flops`.

    `flops` is of the whole horizon, a part of the identity: what goes on from a checkpoint or a trunk decides alike.
    State dicts keep their names. Two CPU cores need 10 s to compile the tiny model (3 s when torch's cache has it) and
    then take 105 instead of 128 ms a step: 6 s over its 280 steps. TORCH_COMPILE_DISABLE=1 leaves everything eager.
    """
    if device.type == "cuda" or flops >= CPU_COMPILED_FLOPS:
        model.transformer.compile(fullgraph=True, dynamic=False, recompile_limit=MAXIMUM_GRAPHS)


def _prefer_pluggable_attention(capability: int) -> None:
    """Let FlashAttention 3 or 4 stand for torch's flash attention, and precede cuDNN, if its package is installed."""
    name = FLASH_ATTENTION.get(capability)
    if name not in list_flash_attention_impls():
        return
    try:
        activate_flash_attention_impl(name)
    except ImportError:
        return  # an optional package; `attention_kernel` tells
    torch.backends.cuda.enable_cudnn_sdp(False)
