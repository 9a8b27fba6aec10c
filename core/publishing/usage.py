"""How to load a published model: code that a reader can paste and run as it stands, for each layout and phase.

The tests take it out of a card and run it, beside the published folders, against the model that was exported.
"""

from __future__ import annotations

from core.export.hub_config import END_OF_ANSWER
from core.publishing.deliverables import Deliverable
from core.publishing.native_usage import native_program
from core.recipes.vocabulary import FORWARD

HUGGING_FACE = """\
```python
# pip install transformers torch
{imports}from transformers import AutoModelForCausalLM, AutoTokenizer

repository = "{id}"
tokenizer = AutoTokenizer.from_pretrained(repository)
model = AutoModelForCausalLM.from_pretrained(repository, trust_remote_code=True, dtype="auto")
{inputs}
output = model.generate(**inputs, max_new_tokens=64, do_sample=False)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:]{in_order}, skip_special_tokens=True))
```

`trust_remote_code=True` is required: the model's code is in this repository, because the nanochat class of transformers
knows neither models without positions nor gated MLPs. Without it transformers stops with an error.
Made for transformers 4.57 and 5.x. A copy on disk is loaded by its path instead of the name. The optimizer state, to
train on, is in `{counterpart}`.

Engines that run no code from a repository can have the same weights as `Qwen3ForCausalLM`, its twin, from
`miniseries export {tag} --phase {phase} --layout twin --to FOLDER`. It does not cap its logits, so its likeliest token
is the same and its probabilities are not; its own README.md tells how to mend that."""

INPUTS = {
    "base": 'inputs = tokenizer("{prompt}", return_tensors="pt")',
    "sft": """\
inputs = tokenizer.apply_chat_template(
    [{"role": "user", "content": "{prompt}"}],
    add_generation_prompt=True, return_dict=True, return_tensors="pt",
)""",
}
BACKWARD_INPUTS = """\
opening = tokenizer("<|backward|>")["input_ids"]  # then the text, from its end: what is written stands before it
text = tokenizer("{prompt}", add_special_tokens=False, return_tensors="pt")["input_ids"]
inputs = {"input_ids": torch.cat([torch.tensor([opening]), text.flip(1)], dim=1)}"""

NATIVE = """\
```python
{program}
```

`model_*.pt`, `meta_*.json`, `optim_*.pt`, `tokenizer.pkl` and `token_bytes.pt` are laid out as nanochat's checkpoints;
its scripts look for them under `~/.cache/nanochat/{checkpoints}/{tag}/` and `~/.cache/nanochat/tokenizer/`. They need
this model's architecture (table below) and must take `use_rope` from the meta file; upstream nanochat has moved on from
it. For everything else there is `{counterpart}`, the same weights for transformers."""

CHECKPOINTS = {"base": "base_checkpoints", "sft": "chatsft_checkpoints"}
PROMPTS = {"base": "The capital of France is", "sft": "Spell the word: apple"}
BACKWARD_PROMPT = " is the capital of France."


def usage(layout: str, repository_id: str, counterpart: str, tag: str, model: Deliverable) -> str:
    """The section's text; `counterpart` is the repository of the same model in the other layout."""
    is_backward = model.phase == "base" and model.direction == "backward"
    prompt = BACKWARD_PROMPT if is_backward else PROMPTS[model.phase]
    if model.phase == "base" and model.marks_direction and not is_backward:
        prompt = f"{FORWARD}{prompt}"
    if layout == "hf":
        values = {
            "id": repository_id,
            "imports": "import torch\n" if is_backward else "",
            "inputs": (BACKWARD_INPUTS if is_backward else INPUTS[model.phase]).replace("{prompt}", prompt),
            "in_order": ".flip(0)" if is_backward else "",
            "counterpart": counterpart,
            "tag": tag,
            "phase": model.phase,
        }
        text = HUGGING_FACE
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        return text
    program = native_program(repository_id, model, prompt, END_OF_ANSWER)
    return NATIVE.format(program=program, tag=tag, checkpoints=CHECKPOINTS[model.phase], counterpart=counterpart)
