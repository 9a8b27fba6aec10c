"""`miniseries maintenance`: what the deployment `maintenance/nightly` does, here and now."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from core.stages.context import StageError
from flows.console import console, data_size, print_json
from flows.prefect_environment import prefect_for_this_run
from flows.stopping import stop_once


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The parameters of the flow."""

    verify_gb: float
    recompute_minutes: float
    seed: int | None
    window_days: float
    collect: bool


def maintain(wanted: Wanted) -> None:
    """Do it and say what came of it. Raises `StageError` when there is anything for a person to look at."""
    report = _report(wanted)
    for line in _lines(report):
        console().print(line, markup=False, soft_wrap=True)
    _require_well(report)


def maintain_json(wanted: Wanted) -> None:
    """The same as JSON: {verification, recomputation, garbage, problems}."""
    report = _report(wanted)
    print_json(report)
    _require_well(report)


def _report(wanted: Wanted) -> dict[str, Any]:
    with prefect_for_this_run(), stop_once():
        from flows.maintenance import maintenance

        state = maintenance(**asdict(wanted), return_state=True)
        report: Any = state.result(raise_on_failure=False)
    if isinstance(report, BaseException):
        raise report
    assert isinstance(report, dict)
    return report


def _lines(report: dict[str, Any]) -> list[str]:
    lines = []
    if (share := report["verification"]) is not None:
        read = f"{share['verified']} of {share['artifacts']} artifacts verified ({data_size(share['bytes'])})"
        lines.append(f"{read}, {len(share['damaged'])} damaged; all are read within {share['nights']} nights")
    if (recomputed := report["recomputation"]) is not None:
        comparison = recomputed["comparison"]
        lines.append(_compared(comparison) if comparison else f"nothing of {recomputed['limit_seconds']:g} s or less")
    if (garbage := report["garbage"]) is not None:
        size = data_size(sum(one["bytes"] for one in garbage["garbage"]))
        deleted = f", {len(garbage['collected']['deleted'])} deleted" if garbage["collected"] else ""
        lines.append(f"{len(garbage['garbage'])} could be collected ({size}){deleted}: `miniseries gc --dry-run`")
    return lines


def _compared(comparison: dict[str, Any]) -> str:
    verdict = "differs" if comparison["differences"] else "equal"
    return f"{comparison['folder']} made again, {verdict}: {comparison['compared']}"


def _require_well(report: dict[str, Any]) -> None:
    if report["problems"]:
        raise StageError("; ".join(report["problems"]))
