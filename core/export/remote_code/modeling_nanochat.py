"""The nanochat decoder for transformers (4.57 and 5.x): SwiGLU or ReLU^2, with or without rotary positions.

tokens -> embedding -> [norm] -> L x (x += attention(norm(x)); x += mlp(norm(x))) -> norm -> lm_head -> softcap

What differs from the models that transformers ships:
- norms have no weights; queries and keys are rotated by -theta (half-split), then normed per head, both in float32.
- `config.use_rope` False skips the rotation. The causal mask is then all that tells positions apart.
- `config.logit_scale_coefficient` other than 0 sharpens the attention of queries beyond the trained length.
- logits are float32 and softcapped: c tanh(z/c).
- no buffers: rotation angles are computed from the position ids of each call, so nothing can be left uninitialised.

Shapes: B sequences, T tokens, n width, H query heads, Hkv key/value heads, D head width, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation import GenerationMixin
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration_nanochat import NanoChatConfig

Rotation = tuple[Tensor, Tensor]  # cosines and sines, float32 [B, 1, T, D/2]

MASK_ARGUMENTS = frozenset(inspect.signature(create_causal_mask).parameters)


def normalize(x: Tensor, epsilon: float) -> Tensor:
    """RMSNorm over the last axis, without weights; computed in float32 for narrower inputs."""
    return F.rms_norm(x, (x.size(-1),), eps=epsilon)


def rotation(positions: Tensor, head_dim: int, theta: float) -> Rotation:
    """Rotation of positions [B, T]: angle of pair j is position * theta^(-2j/D), never formed in a narrow dtype."""
    dtype = torch.float32 if positions.device.type == "mps" else torch.float64  # MPS has no float64
    exponents = torch.arange(0, head_dim, 2, dtype=dtype, device=positions.device) / head_dim
    angles = positions.to(dtype)[:, None, :, None] * theta**-exponents  # [B, 1, T, D/2]
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Rotate x [B, H, T, D] by -theta, component j with component j + D/2; comes back as float32."""
    cosine, sine = by
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosine + second * sine, second * cosine - first * sine), dim=-1)


def query_scale(positions: Tensor, coefficient: float, length: int) -> Tensor:
    """1 + c ln(max(1, m / length)) of positions m [B, T], for queries of every head: float32 [B, 1, T, 1]."""
    dtype = torch.float32 if positions.device.type == "mps" else torch.float64
    beyond = (positions.to(dtype) / length).clamp_min(1.0)
    return (1 + coefficient * beyond.log()).float()[:, None, :, None]


def eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Softmax attention written out: the output [B, T, H, D] and the weights [B, H, T, keys]."""
    key = key.repeat_interleave(module.num_key_value_groups, dim=1)
    value = value.repeat_interleave(module.num_key_value_groups, dim=1)
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask[..., : key.size(2)]
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class NanoChatAttention(nn.Module):
    """Causal attention of one layer."""

    def __init__(self, config: NanoChatConfig, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.scaling = config.head_dim**-0.5
        self.is_causal = True
        query_width = config.num_attention_heads * config.head_dim
        key_width = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, query_width, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, key_width, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, key_width, bias=False)
        self.o_proj = nn.Linear(query_width, config.hidden_size, bias=False)

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: Rotation | None,
        attention_mask: Tensor | None,
        past_key_values: Cache | None = None,
        cache_position: Tensor | None = None,
        query_scale: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        shape = hidden_states.shape[:-1]
        query, key, value = (
            project(hidden_states).view(*shape, -1, self.head_dim).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )  # [B, H or Hkv, T, D]
        if position_embeddings is not None:
            query, key = rotate(query, position_embeddings), rotate(key, position_embeddings)
        query = normalize(query, self.config.rms_norm_eps)
        query = (query if query_scale is None else query * query_scale).to(value.dtype)
        key = normalize(key, self.config.rms_norm_eps).to(value.dtype)
        if past_key_values is not None:
            # a static cache of transformers 4 writes to slot 0 unless it is told the position
            key, value = past_key_values.update(key, value, self.layer_idx, {"cache_position": cache_position})
        attend: Callable[..., tuple[Tensor, Tensor | None]] = eager_attention
        if self.config._attn_implementation != "eager":
            attend = ALL_ATTENTION_FUNCTIONS[self.config._attn_implementation]
        mixed, weights = attend(
            self, query, key, value, attention_mask, dropout=0.0, scaling=self.scaling, **kwargs
        )  # [B, T, H, D]
        return self.o_proj(mixed.reshape(*shape, -1)), weights


class NanoChatSwiGLU(nn.Module):
    """down(silu(gate x) * up x)."""

    def __init__(self, config: NanoChatConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class NanoChatReLU2(nn.Module):
    """fc2(relu(fc1 x)^2)."""

    def __init__(self, config: NanoChatConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(x)).square())


MLPS = {"swiglu": NanoChatSwiGLU, "relu2_nanochat": NanoChatReLU2}


class NanoChatDecoderLayer(GradientCheckpointingLayer):
    """Attention, then MLP, each reading a norm of the residual stream and adding to it."""

    def __init__(self, config: NanoChatConfig, layer_idx: int) -> None:
        super().__init__()
        self.epsilon = config.rms_norm_eps
        self.self_attn = NanoChatAttention(config, layer_idx)
        self.mlp = MLPS[config.hidden_act](config)

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.self_attn(normalize(hidden_states, self.epsilon), **kwargs)
        hidden_states = hidden_states + mixed
        return hidden_states + self.mlp(normalize(hidden_states, self.epsilon)), weights


class NanoChatPreTrainedModel(PreTrainedModel):
    """What transformers asks about the family."""

    config_class = NanoChatConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["NanoChatDecoderLayer"]  # noqa: RUF012 (transformers reads a list)
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True


class NanoChatModel(NanoChatPreTrainedModel):
    """Embedding and layers; without the head."""

    def __init__(self, config: NanoChatConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(NanoChatDecoderLayer(config, index) for index in range(config.num_hidden_layers))
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embed_tokens = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast | tuple[Any, ...]:
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        config = self.config
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds  # [B, T, n]
        if past_key_values is None and _chosen(use_cache, config.use_cache):
            past_key_values = DynamicCache()
        # popped, not declared: transformers 5 warns about models that declare it
        cache_position = kwargs.pop("cache_position", None)
        if cache_position is None:
            behind = 0 if past_key_values is None else past_key_values.get_seq_length()
            cache_position = torch.arange(x.size(1), device=x.device) + behind
        if position_ids is None:
            position_ids = cache_position.unsqueeze(0)
        mask = self._causal_mask(x, attention_mask, cache_position, past_key_values, position_ids)
        positions = rotation(position_ids, config.head_dim, config.rope_theta) if config.use_rope else None
        coefficient = config.logit_scale_coefficient
        scale = query_scale(position_ids, coefficient, config.logit_scale_length) if coefficient else None
        if config.normalize_embedding:
            x = normalize(x, config.rms_norm_eps)
        with_states = _chosen(output_hidden_states, config.output_hidden_states)
        x, states, attentions = self._run_layers(
            x,
            with_states,
            position_embeddings=positions,
            attention_mask=mask,
            past_key_values=past_key_values,
            cache_position=cache_position,
            position_ids=position_ids,
            query_scale=scale,
            **kwargs,
        )
        output = BaseModelOutputWithPast(
            last_hidden_state=x,
            past_key_values=past_key_values,
            hidden_states=tuple(states) if with_states else None,
            attentions=tuple(attentions) if _chosen(output_attentions, config.output_attentions) else None,
        )
        return output if _chosen(return_dict, config.return_dict) else output.to_tuple()

    def _run_layers(
        self, x: Tensor, with_states: bool, **kwargs: Any
    ) -> tuple[Tensor, list[Tensor], list[Tensor | None]]:
        """The normed residual stream after the last layer; if wanted, also before each layer; the attention weights."""
        states, attentions = [], []
        for layer in self.layers:
            if with_states:
                states.append(x)
            x, weights = layer(x, **kwargs)
            attentions.append(weights)
        x = normalize(x, self.config.rms_norm_eps)
        return x, [*states, x], attentions

    def _causal_mask(
        self,
        embeddings: Tensor,
        attention_mask: Tensor | None,
        cache_position: Tensor,
        past_key_values: Cache | None,
        position_ids: Tensor,
    ) -> Any:
        arguments = {
            "config": self.config,
            "inputs_embeds": embeddings,
            "input_embeds": embeddings,  # its name in transformers 4
            "attention_mask": attention_mask,
            "cache_position": cache_position,
            "past_key_values": past_key_values,
            "position_ids": position_ids,
        }
        return create_causal_mask(**{name: value for name, value in arguments.items() if name in MASK_ARGUMENTS})


class NanoChatForCausalLM(NanoChatPreTrainedModel, GenerationMixin):
    """The language model: `NanoChatModel` and an untied head with softcapped float32 logits."""

    def __init__(self, config: NanoChatConfig) -> None:
        super().__init__(config)
        self.model = NanoChatModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.embed_tokens = value

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.lm_head = new_embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            return_dict=True,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        cap = self.config.final_logit_softcapping
        logits = cap * torch.tanh(self.lm_head(outputs.last_hidden_state[:, kept]).float() / cap)  # [B, T, V]
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.vocab_size, **kwargs)
        output = CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        return output if _chosen(return_dict, self.config.return_dict) else output.to_tuple()


def _chosen(argument: bool | None, default: bool | None) -> bool:
    return bool(default if argument is None else argument)
