"""Configuration of a nanochat model: what its modeling file needs to build it.

`hidden_act` is "swiglu" or "relu2_nanochat". Neither is an activation of transformers, on purpose: its own nanochat
class, which knows no `use_rope`, then stops with a KeyError instead of answering nonsense when `trust_remote_code` is
missing.
"""

from __future__ import annotations

from typing import Any

try:
    from transformers import PreTrainedConfig
except ImportError:  # transformers 4
    from transformers import PretrainedConfig as PreTrainedConfig

HIDDEN_ACTS = ("swiglu", "relu2_nanochat")


class NanoChatConfig(PreTrainedConfig):
    """Sizes and constants. `use_rope` False: no positions at all, at any length (DroPE, arXiv 2512.12167).

    A `logit_scale_coefficient` c other than 0 multiplies the attention logits of the query at position m by
    1 + c ln(max(1, m / logit_scale_length)), for texts longer than the model was trained on. It is read at every call.
    """

    model_type = "nanochat"
    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012 (the name and kind that transformers reads)

    def __init__(
        self,
        vocab_size: int = 32768,
        hidden_size: int = 1280,
        intermediate_size: int = 3456,
        num_hidden_layers: int = 20,
        num_attention_heads: int = 10,
        num_key_value_heads: int | None = None,
        head_dim: int | None = None,
        hidden_act: str = "swiglu",
        max_position_embeddings: int = 4096,
        use_rope: bool = True,
        rope_theta: float = 100000.0,
        rope_parameters: dict[str, Any] | None = None,
        rms_norm_eps: float = 1e-6,
        final_logit_softcapping: float = 15.0,
        normalize_embedding: bool = False,
        logit_scale_coefficient: float = 0.0,
        logit_scale_length: int | None = None,
        initializer_range: float = 0.02,
        use_cache: bool = True,
        tie_word_embeddings: bool = False,
        **kwargs: Any,
    ) -> None:
        if hidden_act not in HIDDEN_ACTS:
            raise ValueError(f"hidden_act {hidden_act!r} is not known; use one of {', '.join(HIDDEN_ACTS)}")
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads or num_attention_heads
        self.head_dim = head_dim or hidden_size // num_attention_heads
        self.hidden_act = hidden_act
        self.max_position_embeddings = max_position_embeddings
        self.use_rope = use_rope
        self.rope_parameters = rope_parameters or {"rope_type": "default", "rope_theta": rope_theta}
        self.rope_theta = self.rope_parameters["rope_theta"]
        self.rms_norm_eps = rms_norm_eps
        self.final_logit_softcapping = final_logit_softcapping
        self.normalize_embedding = normalize_embedding
        self.logit_scale_coefficient = logit_scale_coefficient
        self.logit_scale_length = logit_scale_length or max_position_embeddings
        self.initializer_range = initializer_range
        self.use_cache = use_cache
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)
