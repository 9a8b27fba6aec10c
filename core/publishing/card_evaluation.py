"""What a model scored: every number with its interval and the size of its sample, and what was not measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from core.publishing.card_markdown import code, table
from core.publishing.deliverables import Deliverable

ACCURACY = "accuracy/"
HEAD = ("measurement", "value", "95 % interval", "sample")
SHARE = "share"  # how the unit of a proportion begins
EXACT = "exact_answers/"
ROPE = "rope"  # how the measurements of one model with RoPE and without begin
CLOZE = "cloze"
SHOWN_SAMPLES = 2
GOES_ON = {"base": "is continued by", "sft": "is answered by"}
GOES_BEFORE = "read from its end, is preceded by"
CALLED = {
    "chatcore": "ChatCORE",
    "bits_per_byte_train": "bits per byte of rows it was trained on",
    "cloze_last_word": "cloze, last word by what precedes it",
    "cloze_first_word": "cloze, first word by what follows it",
    "rope_at_drop": "at the drop",
    "rope_at_end": "at the end",
    "rope": "at the end",
    "with": "with RoPE",
    "without": "without RoPE",
    "without_minus_with": "what it is worth",
}
OLD_TABLE = "_old_token_bytes"


def headline(model: Deliverable) -> str:
    """The one or two numbers that say most of it."""
    results = model.evaluation["results"]
    said = []
    for name in ("bits_per_byte", "chatcore"):
        if name in results:
            result = results[name]
            sample = f"{result['sample_size']:,} {result['sample_unit']}"
            interval = "" if result["interval"] is None else f", 95 % interval {_interval(result)}"
            said.append(
                f"{called_measurement(name)} {written_value(result['value'], result['unit'])} ({sample}{interval})"
            )
    return f"Measured: {'; '.join(said)}." if said else ""


def base_section(model: Deliverable) -> str:
    """What the base scored that a fine-tune started from: the same kinds of numbers on other text."""
    parts = [*_tables(model.evaluation), "On pretraining text; the fine-tune is measured on held-out answers."]
    return "\n\n".join(parts)


def evaluation_section(model: Deliverable) -> str:
    """The tables of the model's suite, then where the whole of it is."""
    results, examination = model.evaluation["results"], model.evaluation.get("examination")
    parts = _tables(model.evaluation)
    if any(name.startswith(EXACT) for name in results):
        parts.append(
            "Exact answers are those to held-out conversations of the fine-tune's own data, right when every token is "
            "the one that the data have there."
        )
    if examination is not None:
        head = ("task", "accuracy", "95 % interval", "right", "asked", "guessing", "above guessing")
        parts.append(table(head, _task_rows(results, examination["tasks"])))
        parts.append(_how_examined(examination))
    parts.append(
        f"Suite `{model.evaluation['suite']}`. All numbers are in [`evaluation.json`](evaluation.json), texts that the "
        "model wrote in [`samples.md`](samples.md). Nobody but this pipeline has checked them."
    )
    return "\n\n".join(parts)


def _tables(evaluation: Mapping[str, Any]) -> list[str]:
    """Every result but the accuracies of single tasks, what the numbers rest on, and what is missing."""
    results = {name: result for name, result in evaluation["results"].items() if not name.startswith(ACCURACY)}
    plain = {name: result for name, result in results.items() if not name.startswith(ROPE)}
    parts = [table(HEAD, (_row(name, result) for name, result in plain.items()))]
    parts += _bases(evaluation, plain)
    if len(plain) < len(results):
        compared = (_row(name, result) for name, result in results.items() if name not in plain)
        same = "The same weights with RoPE and without it, on the first of the held-out rows; the difference is by row:"
        parts += [same, table(HEAD, compared), *_recovery(evaluation)]
    if missing := evaluation.get("missing"):
        parts.append("**Missing:** " + "; ".join(f"{one['what']} ({one['why']})" for one in missing) + ".")
    return parts


def _bases(evaluation: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[str]:
    """What the numbers were measured on, and how their intervals were found."""
    sets = [one for one in evaluation.get("sets", ()) if not one["set"].startswith(ROPE)]
    read = "; ".join(
        f"{one['set']}, {one['way']}: {one['rows']:,} rows, {one['documents']:,} documents, {one['tokens']:,} tokens"
        for one in sets
    )
    if sets:
        yield f"Bits per byte are of {read}. Their intervals are bootstrapped over rows."
    if any(result["interval"] is None for result in results.values()):
        yield "Where there is no interval, there was no more than one row to find one by."
    if any(name.endswith(OLD_TABLE) for name in results):
        yield (
            "The old table of token lengths, with which nanochat was measured before its commit 2ce972a, counts three "
            "bytes for every token that is no text by itself."
        )
    if any(name.startswith(CLOZE) for name in results):
        yield f"In the cloze task guessing finds {evaluation['cloze']['chance']:.0%}."


def _recovery(evaluation: Mapping[str, Any]) -> Iterator[str]:
    """The ends of the curve, as training measured them."""
    recovery = evaluation.get("recovery")
    if recovery is not None:
        first, last = recovery["points"][0], recovery["points"][-1]
        size = recovery["sample_size"]
        sample = "bytes that were not counted" if size is None else f"{size:,} {recovery['sample_unit']}"
        yield (
            f"RoPE was dropped at step {recovery['drop_step']:,}. Measured while training, on {sample}: "
            f"{recovery['with_rope']:.4f} bits per byte with it, {first['bits_per_byte']:.4f} without it, "
            f"{last['bits_per_byte']:.4f} after {last['steps']:,} steps without it. All points are in "
            "[`evaluation.json`](evaluation.json)."
        )


def samples_section(model: Deliverable) -> str:
    """The first texts that the evaluation had it write, as it wrote them; empty when it kept none."""
    samples = model.evaluation.get("samples", [])[:SHOWN_SAMPLES]
    texts = (
        (code(one["prompt"], "text"), _goes_on(model.phase, one.get("way")), code(one["answer"], "text"))
        for one in samples
    )
    return "\n\n".join(text for sample in texts for text in sample)


def _goes_on(phase: str, way: str | None) -> str:
    return GOES_BEFORE if way == "backward" else GOES_ON[phase]


def overlap_section(report: Mapping[str, Any]) -> str:
    """How many evaluation questions stand in the text that the model was pretrained on, and where that is told."""
    tasks = report["tasks"]
    overlapping, questions, short = (
        sum(task[name] for task in tasks.values()) for name in ("overlapping", "questions", "too_short")
    )
    head = ("task", "questions", "found in the training text", "too short to tell")
    rows = (
        (name, *(f"{task[count]:,}" for count in ("questions", "overlapping", "too_short")))
        for name, task in tasks.items()
    )
    return (
        f"{overlapping:,} of {questions:,} evaluation questions share {report['ngram']} words in a row with the "
        f"pretraining text; {short:,} are too short to tell. Nothing was removed. Which ones and where: "
        f"[`decontamination.md`](decontamination.md).\n\n{table(head, rows)}"
    )


def is_score(name: str) -> bool:
    """Whether a measurement is of the published model on text that it was not trained on, each counted once."""
    return not name.startswith(ROPE) and not name.endswith(("_train", OLD_TABLE))


def written_value(value: float, unit: str) -> str:
    """A proportion in per cent, anything else with four decimals."""
    return f"{value:.1%}" if unit.startswith(SHARE) else f"{value:.4f}"


def _row(name: str, result: Mapping[str, Any]) -> tuple[str, ...]:
    unit, called = result["unit"], called_measurement(name)
    of = "" if unit.startswith(SHARE) or unit in called else f" ({unit})"
    sample = f"{result['sample_size']:,} {result['sample_unit']}"
    return called + of, written_value(result["value"], unit), _interval(result), sample


def called_measurement(name: str) -> str:
    """Its name for readers."""
    if name.endswith(OLD_TABLE):
        return f"{called_measurement(name.removesuffix(OLD_TABLE))}, by the old table of token lengths"
    metric, _, part = name.partition("/")
    return ": ".join(CALLED.get(one, one.replace("_", " ")) for one in (metric, part) if one)


def _interval(result: Mapping[str, Any]) -> str:
    bounds = result["interval"]
    return "none" if bounds is None else " to ".join(written_value(bound, result["unit"]) for bound in bounds)


def _task_rows(results: Mapping[str, Any], tasks: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, task in tasks.items():
        result = results.get(f"{ACCURACY}{name}")
        if result is not None:
            yield (
                name,
                written_value(result["value"], result["unit"]),
                _interval(result),
                f"{task['correct']:,}",
                f"{task['asked']:,}",
                f"{task['baseline']:.1%}",
                f"{task['centered']:.4f}",
            )


def _how_examined(examination: Mapping[str, Any]) -> str:
    said = [
        "Above guessing is (accuracy - guessing) / (1 - guessing): 0 for guessing, 1 for all right; ChatCORE is the "
        f"mean of it over the tasks above. Answers are greedy, at most {examination['answer_tokens']:,} tokens.",
    ]
    if missing := examination["missing"]:
        said.append(f"**Missing: {', '.join(missing)}.** They have no score and are not in the mean.")
    if long := sum(task["too_long"] for task in examination["tasks"].values()):
        said.append(f"{long:,} questions do not fit the model's context and were not asked.")
    return " ".join(said)
