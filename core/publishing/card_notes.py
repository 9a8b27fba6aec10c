"""What a card says besides numbers: the limits of the model, and its licence."""

from __future__ import annotations

from core.data.corpus import python_docs
from core.publishing.card_markdown import dataset_link, listed
from core.publishing.card_training import datasets, read_source
from core.publishing.deliverables import Deliverable


def limitations_section(model: Deliverable) -> str:
    """What not to expect of it."""
    length, tokens = model.meta["max_seq_len"], model.meta["tokens_seen"]
    beyond = "it was not evaluated" if model.long_evaluation is None else "only what the table above says is known"
    said = [
        f"It has {model.architecture.total_parameters:,} parameters and has read {tokens:,} tokens: what it states as "
        "fact is often wrong. The tables above are all that was measured.",
        f"It was last trained on {length:,} tokens at a time. Beyond that {beyond}.",
        "Its text was filtered no further than its sources say of themselves, and nothing was done after training to "
        "make it refuse: it can write what is false, biased or offensive.",
    ]
    if model.phase == "base":
        said.append("It continues text. It does not follow instructions and knows no chat format.")
    else:
        said.append(
            "It may write calls of Python between `<|python_start|>` and `<|python_end|>`. This export does not run "
            "them; the evaluation here did, with a calculator, so answers that need one are worse without."
        )
    if missing := (model.evaluation.get("examination") or {}).get("missing"):
        said.append(f"Not evaluated on {', '.join(missing)}.")
    if model.direction != "forward":
        said.append(
            f"It was trained {model.direction}: reading backward, tokens come last first, after `<|backward|>`."
        )
    if (read := read_source(model.lineage)) and read[0] == python_docs.NAME:
        said.insert(
            0, "**It demonstrates the pipeline and is of no other use:** it has read Python's documentation only."
        )
    return listed(said)


def licence_section(model: Deliverable) -> str:
    """MIT, and that data has licences of its own."""
    named = datasets(model.lineage)
    own = f" The data sets have licences of their own: {', '.join(map(dataset_link, named))}." if named else ""
    return f"MIT, as nanochat.{own}"
