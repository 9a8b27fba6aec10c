"""The Hugging Face export in transformers itself: same logits, same text, same conversations, and no silent mistake."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.data.tokenizer import Tokenizer
from core.model.checkpoint import ModelState, load_model
from core.model.position_scaling import LogitScale
from core.posttraining.conversation import Conversation, Message, Part, assistant, conversation_json, user
from core.posttraining.rendering import render, render_prompt

Export = Callable[..., Any]

HF = "core.export.huggingface"
CONVERSATIONS = 1500
WORDS = [
    "fox",
    " the",
    "\n",
    "  ",
    "é",
    "☕️",
    "你好",
    "1234",
    "'s",
    "<|",
    "|>",
    "{{ x }}",
    "{%",
    "",
    "\u0301",
    "\r\n\n",
]


@pytest.fixture(scope="module")
def transformers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The library, with its folder for remote code in a temporary place; imported here because that takes seconds."""
    import transformers
    from transformers import dynamic_module_utils

    modules = str(tmp_path_factory.mktemp("modules"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", modules)
        patch.syspath_prepend(modules)
        for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
            patch.delitem(sys.modules, name)  # of another folder: the next import would look for its code there
        yield transformers


@pytest.fixture(scope="module", params=["swiglu-rope-gqa", "swiglu-nope-gqa", "relu2-rope", "relu2-nope"])
def exported(request: pytest.FixtureRequest, export: Export, base_state: ModelState, relu2_state: ModelState) -> Any:
    """One export of each kind."""
    state = base_state if "swiglu" in request.param else relu2_state
    return export(HF, replace(state, use_rope="nope" not in request.param))


@pytest.fixture(scope="module")
def chat_folder(export: Export, base_state: ModelState) -> Path:
    """An exported chat model."""
    folder: Path = export(HF, replace(base_state, phase="sft")).folder
    return folder


@pytest.fixture(scope="module")
def chat_tokenizer(transformers: ModuleType, chat_folder: Path) -> Any:
    """Its tokenizer."""
    return transformers.AutoTokenizer.from_pretrained(chat_folder)


def load(transformers: ModuleType, folder: Path, **options: Any) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, **options)
    return model.eval()


def random_tokens(rows: int, length: int) -> Tensor:
    return torch.randint(0, 390, (rows, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_logits_equal_the_native_models(transformers: ModuleType, exported: Any, attention: str) -> None:
    tokens = random_tokens(2, 40)
    with torch.no_grad():
        native = load_model(exported.model)(tokens)
        exported_logits = load(transformers, exported.folder, attn_implementation=attention)(tokens).logits
    assert exported_logits.dtype == torch.float32
    assert (exported_logits - native).abs().max() <= 1e-5


def test_the_logit_scale_is_off_until_it_is_set_and_then_is_the_native_models_with_and_without_a_cache(
    transformers: ModuleType, exported: Any
) -> None:
    model, native = load(transformers, exported.folder), load_model(exported.model)
    tokens = random_tokens(2, 40)
    with torch.no_grad():
        plain = native(tokens)
        assert model.config.logit_scale_coefficient == 0
        model.config.logit_scale_coefficient, model.config.logit_scale_length = 0.7, 16
        native.scaling = LogitScale(coefficient=0.7, trained_length=16)
        expected = native(tokens)
        whole = model(tokens).logits
        cache, pieces = None, []
        for start in range(40):
            output = model(tokens[:, start : start + 1], past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            pieces.append(output.logits)
    assert (whole - expected).abs().max() <= 1e-5
    assert (torch.cat(pieces, dim=1) - expected).abs().max() <= 1e-4
    assert (whole[:, :17] - plain[:, :17]).abs().max() <= 1e-5, "within the trained length nothing changes"
    assert (whole[:, 20:] - plain[:, 20:]).abs().max() > 1e-3


def test_greedy_text_is_the_native_models_with_and_without_a_cache(transformers: ModuleType, exported: Any) -> None:
    model, native = load(transformers, exported.folder), load_model(exported.model)
    prompt = random_tokens(1, 5)
    expected = prompt
    with torch.no_grad():
        for _ in range(20):
            expected = torch.cat([expected, native(expected)[:, -1:].argmax(-1)], dim=1)
    options: dict[str, Any] = {"max_new_tokens": 20, "do_sample": False, "eos_token_id": None}
    mask = torch.ones_like(prompt)
    for cache in ({"use_cache": True}, {"use_cache": False}, {"cache_implementation": "static"}):
        assert torch.equal(model.generate(prompt, attention_mask=mask, **options, **cache), expected), cache
    padded = torch.cat([torch.full((1, 3), 391), prompt], dim=1)
    mask = (torch.arange(8) >= 3).long().unsqueeze(0)
    assert torch.equal(model.generate(padded, attention_mask=mask, **options)[:, 3:], expected)


@pytest.mark.parametrize("options", [{}, {"trust_remote_code": False}])
def test_the_librarys_own_class_refuses(transformers: ModuleType, exported: Any, options: dict[str, bool]) -> None:
    refusal = r"swiglu|relu2_nanochat|trust_remote_code=True"  # transformers 5 builds its class, 4 asks for trust
    with pytest.raises((KeyError, ValueError), match=refusal):
        transformers.AutoModelForCausalLM.from_pretrained(exported.folder, **options)


def test_a_saved_copy_is_as_complete_as_the_export(transformers: ModuleType, exported: Any, tmp_path: Path) -> None:
    model, tokens = load(transformers, exported.folder), random_tokens(1, 16)
    model.save_pretrained(tmp_path)
    again = load(transformers, tmp_path)
    assert again.config.use_rope == model.config.use_rope
    assert (tmp_path / "modeling_nanochat.py").read_bytes() == (exported.folder / "modeling_nanochat.py").read_bytes()
    with torch.no_grad():
        assert torch.equal(again(tokens).logits, model(tokens).logits)


def test_a_bfloat16_model_computes_what_the_native_one_does(
    transformers: ModuleType, export: Export, base_state: ModelState
) -> None:
    exported, tokens = export(HF, replace(base_state, precision="bf16")), random_tokens(2, 40)
    model = load(transformers, exported.folder, dtype="auto")  # what transformers 5 does when told nothing
    assert model.dtype == torch.bfloat16
    with torch.no_grad():
        native = load_model(exported.model, dtype=torch.bfloat16)(tokens)
        assert (model(tokens).logits - native).abs().max() <= 1e-5


def test_training_with_recomputed_activations_gives_the_same_gradients(transformers: ModuleType, exported: Any) -> None:
    model, tokens = load(transformers, exported.folder).train(), random_tokens(2, 16)

    def gradients() -> list[Tensor]:
        model.zero_grad()
        model(tokens, labels=tokens, use_cache=False).loss.backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    plain = gradients()
    model.gradient_checkpointing_enable()
    for expected, recomputed in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(recomputed, expected, rtol=1e-5, atol=1e-6)


def test_the_base_class_and_its_options_work(transformers: ModuleType, exported: Any) -> None:
    tokens = random_tokens(1, 12)
    base = transformers.AutoModel.from_pretrained(exported.folder, trust_remote_code=True).eval()
    model = load(transformers, exported.folder)
    with torch.no_grad():
        (hidden,) = base(tokens, use_cache=False, return_dict=False)
        full = model(tokens, output_hidden_states=True)
        embedded = model(inputs_embeds=model.get_input_embeddings()(tokens), logits_to_keep=1)
    assert len(full.hidden_states) == 3
    assert torch.equal(hidden, full.hidden_states[-1])
    torch.testing.assert_close(embedded.logits, full.logits[:, -1:])


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_the_loaded_tokenizer_gives_the_native_ids(chat_tokenizer: Any, tokenizer: Tokenizer, text: str) -> None:
    ids = chat_tokenizer(text, split_special_tokens=True).input_ids
    assert ids == [tokenizer.bos, *tokenizer.encode(text)]
    assert chat_tokenizer.decode(ids, skip_special_tokens=True) == text


def random_text(chooser: random.Random) -> str:
    return "".join(chooser.choice(WORDS) for _ in range(chooser.randrange(6)))


def random_answer(chooser: random.Random) -> Message:
    """Texts, calls of Python, and outputs: each output follows a call, another output, or nothing."""
    parts: list[Part] = []
    for _ in range(chooser.randrange(1, 7)):
        after_text = bool(parts) and parts[-1].kind == "text"
        kinds = ("text", "python") if after_text else ("text", "python", "python_output")
        parts.append(Part(chooser.choice(kinds), random_text(chooser)))
    return Message("assistant", tuple(parts))


def random_conversation(chooser: random.Random) -> Conversation:
    turns = [
        user(random_text(chooser)) if index % 2 == 0 else random_answer(chooser)
        for index in range(chooser.randrange(1, 6))
    ]
    return Conversation(tuple(turns))


def test_the_chat_template_renders_as_training_did(chat_tokenizer: Any, tokenizer: Tokenizer) -> None:
    chooser = random.Random(42)
    for _ in range(CONVERSATIONS):
        conversation = random_conversation(chooser)
        expected = render(conversation, tokenizer, max_tokens=100_000)
        rendered = chat_tokenizer.apply_chat_template(
            conversation_json(conversation)["messages"],
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        assert tuple(rendered["input_ids"]) == expected.tokens, conversation
        assert tuple(rendered["assistant_masks"]) == expected.mask, conversation


def test_a_prompt_ends_where_the_answer_begins(chat_tokenizer: Any, tokenizer: Tokenizer) -> None:
    conversation = Conversation((user("the fox"), assistant("jumps"), user("again")))
    ids = chat_tokenizer.apply_chat_template(
        conversation_json(conversation)["messages"], tokenize=True, return_dict=True, add_generation_prompt=True
    )["input_ids"]
    assert ids == render_prompt(conversation, tokenizer, max_tokens=1000)


def test_a_system_message_is_merged_into_the_first_question(chat_tokenizer: Any, tokenizer: Tokenizer) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "the "}, {"type": "text", "text": "fox"}]},
    ]
    ids = chat_tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
    assert tuple(ids) == render(Conversation((user("be brief\n\nthe fox"),)), tokenizer, max_tokens=1000).tokens


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "message 1 has role user"),
        ([{"role": "system", "content": "a"}], "must be followed by a user message"),
        ([{"role": "user", "content": [{"type": "image"}]}], "not image"),
    ],
)
def test_messages_that_training_never_saw_are_refused(chat_tokenizer: Any, messages: list[Any], reason: str) -> None:
    with pytest.raises(Exception, match=reason):
        chat_tokenizer.apply_chat_template(messages, tokenize=False)


@pytest.mark.parametrize("end", ["<|assistant_end|>", "<|bos|>"])
def test_generation_after_a_chat_prompt_stops_where_the_answer_ends(
    transformers: ModuleType, chat_folder: Path, chat_tokenizer: Any, end: str
) -> None:
    inputs = chat_tokenizer.apply_chat_template(
        [{"role": "user", "content": "the fox"}], add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    said = [7, chat_tokenizer.convert_tokens_to_ids(end)]
    length = inputs["input_ids"].shape[1]
    generated = load(transformers, chat_folder).generate(
        **inputs, max_new_tokens=9, prefix_allowed_tokens_fn=lambda _, tokens: [said[len(tokens) - length]]
    )
    assert generated[0, length:].tolist() == said
