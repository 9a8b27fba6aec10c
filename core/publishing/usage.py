"""How to load a published model: code that a reader can paste, for each layout and phase."""

from __future__ import annotations

from core.publishing.deliverables import Deliverable

HUGGING_FACE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

repository = "{id}"
tokenizer = AutoTokenizer.from_pretrained(repository)
model = AutoModelForCausalLM.from_pretrained(repository, trust_remote_code=True, dtype="auto")
{inputs}
output = model.generate(**inputs, max_new_tokens=128)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
```

`trust_remote_code=True` is required: the model's code is in this repository, because the nanochat class of transformers
knows neither models without positions nor gated MLPs. Without it transformers stops with an error.
Made for transformers 4.57 and 5.x."""

INPUTS = {
    "base": 'inputs = tokenizer("The capital of France is", return_tensors="pt")',
    "sft": """\
inputs = tokenizer.apply_chat_template(
    [{"role": "user", "content": "Spell the word: apple"}],
    add_generation_prompt=True, return_dict=True, return_tensors="pt",
)""",
}

NATIVE = """\
```sh
hf download {id} --local-dir {tag}
mkdir -p ~/.cache/nanochat/{checkpoints}/{tag} ~/.cache/nanochat/tokenizer
cp {tag}/model_*.pt {tag}/meta_*.json {tag}/optim_*.pt ~/.cache/nanochat/{checkpoints}/{tag}/
cp {tag}/tokenizer.pkl {tag}/token_bytes.pt ~/.cache/nanochat/tokenizer/
```

The scripts that read this need this model's architecture (table below) and must take `use_rope` from the meta file;
upstream nanochat has moved on from it. For everything else there is `{twin}`, the same weights for transformers."""

CHECKPOINTS = {"base": "base_checkpoints", "sft": "chatsft_checkpoints"}


def usage(layout: str, repository_id: str, twin: str, tag: str, model: Deliverable) -> str:
    """The section's text; `twin` is the repository of the same model in the Hugging Face layout."""
    if layout == "hf":
        return HUGGING_FACE.replace("{id}", repository_id).replace("{inputs}", INPUTS[model.phase])
    return NATIVE.format(id=repository_id, tag=tag, checkpoints=CHECKPOINTS[model.phase], twin=twin)
