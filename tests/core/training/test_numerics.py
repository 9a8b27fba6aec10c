"""Which kernels a stage's process runs on; the GPU's choices with a GPU that is only pretended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch._dynamo.utils import counters
from torch.nn.attention import (
    current_flash_attention_impl,
    list_flash_attention_impls,
    restore_flash_attention_impl,
)

from core.model.transformer import Transformer
from core.stages.identity import TrainingIdentity
from core.stages.runtime import Kernels
from core.training.numerics import CPU_COMPILED_FLOPS, attention_kernel, compile_where_it_pays, fix_numerics
from core.training.precision import build_model

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def other_tests_keep_their_numerics(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back what `fix_numerics` changes for a whole process."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch._inductor.config.patch(deterministic=False):
        yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cuda.enable_cudnn_sdp(True)
    restore_flash_attention_impl()


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that this machine has an H100."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))


@pytest.fixture
def model(segment: TrainingIdentity) -> Transformer:
    """The toy model in bfloat16."""
    return build_model(segment.architecture, "bf16", True, CPU)


class Installed:
    """Stands for the package of a pluggable flash attention."""

    def remove(self) -> None:
        """Nothing was registered."""


@pytest.mark.parametrize("kernels", ["deterministic", "fastest"])
def test_on_a_cpu_an_operation_without_deterministic_kernel_fails_by_name(kernels: Kernels) -> None:
    fix_numerics(kernels)
    with pytest.raises(RuntimeError, match="put_ does not have a deterministic implementation"):
        torch.zeros(4).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))


@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize(("kernels", "strict"), [("deterministic", True), ("fastest", False)])
def test_on_a_gpu_only_the_deterministic_kernels_are_strict(kernels: Kernels, strict: bool) -> None:
    fix_numerics(kernels)
    assert torch.are_deterministic_algorithms_enabled() is strict
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch._inductor.config.deterministic is strict


@pytest.mark.usefixtures("hopper")
def test_an_installed_flash_attention_3_is_used_on_hopper_in_place_of_cudnn(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "FA3" in list_flash_attention_impls()
    monkeypatch.setitem(torch.nn.attention._registry._FLASH_ATTENTION_IMPLS, "FA3", Installed)
    fix_numerics("deterministic")
    assert current_flash_attention_impl() == "FA3"
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert attention_kernel(model) == "flash (FA3)"


@pytest.mark.usefixtures("hopper")
def test_without_its_package_torch_chooses_the_attention_kernel(model: Transformer) -> None:
    fix_numerics("fastest")
    assert current_flash_attention_impl() is None
    assert torch.backends.cuda.cudnn_sdp_enabled()
    assert attention_kernel(model) == "flash"


def test_the_kernel_named_is_the_one_that_the_shapes_of_the_model_get(segment: TrainingIdentity) -> None:
    grouped = replace(segment.architecture, key_value_heads=1)
    model = build_model(grouped, "fp32", True, CPU)
    torch.backends.cuda.enable_flash_sdp(False)
    try:
        assert attention_kernel(model) == "math"
    finally:
        torch.backends.cuda.enable_flash_sdp(True)
    assert attention_kernel(model) == "flash"


@pytest.mark.parametrize(("variables", "threads"), [({"OMP_NUM_THREADS": "3"}, 3), ({"LOCAL_WORLD_SIZE": "1000"}, 1)])
def test_ranks_share_the_cores_unless_told_how_many_threads_to_use(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], threads: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    fix_numerics("deterministic")
    assert torch.get_num_threads() == threads


@pytest.mark.slow
@pytest.mark.parametrize(("flops", "graphs"), [(CPU_COMPILED_FLOPS / 2, 0), (CPU_COMPILED_FLOPS, 1)])
def test_on_a_cpu_only_a_long_run_is_compiled(model: Transformer, flops: float, graphs: int) -> None:
    counters.clear()
    compile_where_it_pays(model, CPU, flops)
    model.hidden(torch.zeros(1, 16, dtype=torch.int64))
    assert counters["stats"]["unique_graphs"] == graphs
