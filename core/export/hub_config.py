"""The small JSON files of a Hugging Face export: all that transformers must be told, nothing left to its defaults.

Defaults there are wrong for this family (theta 10,000, bos 0, eos 1), and a wrong one is silent.
"""

from __future__ import annotations

from core.data.tokenizer import Tokenizer
from core.export.chat_template import CHAT_TEMPLATE
from core.model.checkpoint import ModelState

HIDDEN_ACTS = {"swiglu": "swiglu", "relu2": "relu2_nanochat"}  # unknown to the library's own class, so that it refuses
TORCH_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp8": "bfloat16"}  # precision trained in -> dtype exported
END_OF_ANSWER = "<|assistant_end|>"


def end_token(state: ModelState, tokenizer: Tokenizer) -> str:
    """What ends a text: the next document's beginning for a base model, the end of the answer after fine-tuning."""
    return END_OF_ANSWER if state.phase == "sft" else tokenizer.special_tokens[0]


def model_config(state: ModelState, tokenizer: Tokenizer) -> dict[str, object]:
    """`config.json`."""
    architecture = state.architecture
    return {
        "model_type": "nanochat",
        "architectures": ["NanoChatForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_nanochat.NanoChatConfig",
            "AutoModel": "modeling_nanochat.NanoChatModel",
            "AutoModelForCausalLM": "modeling_nanochat.NanoChatForCausalLM",
        },
        **common_config(state, tokenizer),
        "hidden_act": HIDDEN_ACTS[architecture.mlp],
        "original_max_position_embeddings": architecture.sequence_length,
        "use_rope": state.use_rope,
        "rope_theta": architecture.rope_base,
        "rope_parameters": {"rope_type": "default", "rope_theta": architecture.rope_base},
        "final_logit_softcapping": architecture.logit_softcap,
        "normalize_embedding": architecture.normalize_embedding,
        "direction": state.direction,
        **logit_scale_config(state),
    }


def logit_scale_config(state: ModelState) -> dict[str, object]:
    """Off, for a model without RoPE; its reader may set the c that `long_context` fitted, which the card tells."""
    if state.use_rope:
        return {}
    return {"logit_scale_coefficient": 0.0, "logit_scale_length": state.sequence_length}


def common_config(state: ModelState, tokenizer: Tokenizer) -> dict[str, object]:
    """What every decoder's `config.json` says. No padding token exists; BOS padded the rows of the fine-tune."""
    architecture = state.architecture
    return {
        "dtype": TORCH_DTYPES[state.precision],
        "vocab_size": architecture.vocabulary_size,
        "hidden_size": architecture.width,
        "intermediate_size": architecture.mlp_width,
        "num_hidden_layers": architecture.depth,
        "num_attention_heads": architecture.heads,
        "num_key_value_heads": architecture.key_value_heads,
        "head_dim": architecture.head_width,
        "max_position_embeddings": state.sequence_length,
        "rms_norm_eps": architecture.norm_epsilon,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "tie_word_embeddings": False,
        "use_cache": True,
        "bos_token_id": tokenizer.bos,
        "eos_token_id": tokenizer.special(end_token(state, tokenizer)),
        "pad_token_id": tokenizer.bos,
    }


def generation_config(state: ModelState, tokenizer: Tokenizer) -> dict[str, object]:
    """`generation_config.json`: where generation stops; a chat model also at BOS, where another text would begin."""
    ends = [tokenizer.special(end_token(state, tokenizer)), tokenizer.bos]
    return {
        "bos_token_id": tokenizer.bos,
        "eos_token_id": list(dict.fromkeys(ends)),
        "pad_token_id": tokenizer.bos,
    }


def tokenizer_config(state: ModelState, tokenizer: Tokenizer) -> dict[str, object]:
    """`tokenizer_config.json`. The class is the one that transformers 4 and 5 both know."""
    bos = tokenizer.special_tokens[0]
    config: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": [
            "input_ids",
            "attention_mask",
        ],  # transformers 4 would add token types, which no model takes
        "model_max_length": state.sequence_length,
        "bos_token": bos,
        "eos_token": end_token(state, tokenizer),
        "pad_token": bos,
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
    }
    if state.phase == "sft":
        config["chat_template"] = CHAT_TEMPLATE
    return config
