"""`miniseries gc`: what nothing reaches is listed, marked, and deleted by a later call when its undo window is over."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import typer

from artifacts.errors import StoreError
from artifacts.store import Store
from core.planning.collection import DAY, Collected, Terms, collect
from core.planning.garbage import Garbage, GarbageSurvey, survey_garbage
from flows.console import console, data_size, decimal, listing, print_json
from flows.stopping import stop_once
from tasks.old_logs import OldLog, bring_back, delete_expired_logs, move_to_trash, old_logs
from tasks.settings import RunSettings, settings_from_environment


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be looked for."""

    window_days: float  # between mark and deletion
    log_days: float  # logs on this machine are kept at least as long


@dataclass(frozen=True, kw_only=True)
class _Found:
    survey: GarbageSurvey
    logs: Sequence[OldLog]
    now: float

    @property
    def is_empty(self) -> bool:
        return not (self.survey.garbage or self.survey.void or self.logs)


def show_garbage(wanted: Wanted) -> None:
    """List what could be collected; change nothing. Raises `StoreError`."""
    _show(_find(_settings().open_store(), wanted), wanted)


def show_garbage_json(wanted: Wanted) -> None:
    """The same as one JSON object."""
    print_json(_listing(_find(_settings().open_store(), wanted), wanted))


def collect_garbage(wanted: Wanted, *, yes: bool) -> None:
    """List, ask, mark what is new, delete what was marked long ago. Raises `StoreError`."""
    settings = _settings()
    store, out = settings.open_store(), console()
    found = _find(store, wanted)
    _show(found, wanted)
    if found.is_empty:
        delete_expired_logs(found.now, wanted.window_days * DAY)
        return
    _require_consent(found, wanted, yes=yes)
    with stop_once():
        done = _collect(store, settings, found, wanted)
    due = f", to be deleted by a `miniseries gc` in {wanted.window_days:g} days or later" if done.marked else ""
    marks = f"{len(done.marked)} marked{due}"
    freed = f"{len(done.deleted)} deleted ({data_size(done.deleted_bytes)})"
    busy = f"; {len(done.busy)} in use just now, left for the next time" if done.busy else ""
    kept = f"; {len(done.kept)} needed again and kept" if done.kept else ""
    undo = "; `miniseries gc --undo` takes the marks back" if done.marked else ""
    out.print(f"{marks}; {freed}{kept}{busy}{undo}", markup=False, soft_wrap=True)


def collect_garbage_json(wanted: Wanted, *, yes: bool) -> None:
    """The same as one JSON object, with what was done."""
    settings = _settings()
    store = settings.open_store()
    found = _find(store, wanted)
    if not found.is_empty:
        _require_consent(found, wanted, yes=yes)
    with stop_once():
        done = _collect(store, settings, found, wanted)
    print_json({**_listing(found, wanted), "done": done.listing()})


def undo() -> None:
    """Take every mark back, and bring the logs back. Raises `StoreError`."""
    back, held, logs = _undo()
    still = f"; {len(held)} are being made or deleted just now: {', '.join(held)}" if held else ""
    console().print(f"{len(back)} marks taken back, {logs} logs brought back{still}", markup=False, soft_wrap=True)


def undo_json() -> None:
    """The same as one JSON object."""
    back, held, logs = _undo()
    print_json({"kept": back, "busy": held, "logs": logs})


def _undo() -> tuple[list[str], list[str], int]:
    settings = _settings()
    store = settings.open_store()
    with stop_once():
        folders = sorted(store.trash.tombstones())
        back = store.trash.take_back(folders, settings.lease_seconds)
        return back, [folder for folder in folders if folder not in back], bring_back()


def _settings() -> RunSettings:
    return settings_from_environment()


def _find(store: Store, wanted: Wanted) -> _Found:
    now = time.time()
    return _Found(survey=survey_garbage(store, now), logs=old_logs(now, wanted.log_days * DAY), now=now)


def _collect(store: Store, settings: RunSettings, found: _Found, wanted: Wanted) -> Collected:
    terms = Terms(
        now=found.now,
        window=wanted.window_days * DAY,
        lease_seconds=settings.lease_seconds,
        wait=time.sleep,
    )
    done = collect(store, found.survey, terms)
    delete_expired_logs(found.now, terms.window)
    move_to_trash(found.logs, found.now)
    return done


def _require_consent(found: _Found, wanted: Wanted, *, yes: bool) -> None:
    """Raise `StoreError` where there is nobody to ask, `typer.Abort` when the answer is no."""
    found.survey.require_known()
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise StoreError("nothing was collected: there is no terminal to ask at; say --yes, or --dry-run to look only")
    expired = found.survey.expired(found.now, wanted.window_days * DAY)
    new = len(found.survey.unmarked())
    deletion = f", and delete {len(expired)} for good" if expired else ""
    typer.confirm(f"Mark {new} for deletion in {wanted.window_days:g} days{deletion}?", abort=True, err=True)


def _show(found: _Found, wanted: Wanted) -> None:
    out, survey = console(), found.survey
    if survey.garbage:
        table = listing("what", "path", "size>", "age>", "GPU-hours>", "deleted", "why")
        for one in survey.garbage:
            table.add_row(
                one.what,
                one.address.folder,
                data_size(one.bytes),
                _age(one.age),
                "" if one.gpu_hours is None else decimal(one.gpu_hours),
                _due(one, found.now, wanted),
                one.reason,
            )
        out.print(table)
    for alone in survey.left_alone:
        out.print(f"left alone: {alone.folder}: {alone.why}", markup=False, soft_wrap=True)
    for folder in survey.void:
        out.print(f"its mark does not count any more: {folder}", markup=False, soft_wrap=True)
    for folder in survey.unknown:
        out.print(f"unreadable, so nothing can be collected: {folder}", markup=False, soft_wrap=True)
    out.print(_totals(found), markup=False, soft_wrap=True)


def _totals(found: _Found) -> str:
    garbage = found.survey.garbage
    logs = sum(log.bytes for log in found.logs)
    return (
        f"{len(garbage)} unreachable, {data_size(_bytes(garbage))}, {_hours(garbage):,.2f} GPU-hours to make again; "
        f"{len(found.logs)} old logs on this machine, {data_size(logs)}"
    )


def _listing(found: _Found, wanted: Wanted) -> dict[str, object]:
    survey, window = found.survey, wanted.window_days * DAY
    return {
        "garbage": [
            {**one.listing(), "deletable_at": None if one.marked is None else one.marked + window}
            for one in survey.garbage
        ],
        "left_alone": [{"path": alone.folder, "why": alone.why} for alone in survey.left_alone],
        "needed_again": list(survey.void),
        "unknown": list(survey.unknown),
        "logs": [log.listing() for log in found.logs],
        "totals": {
            "count": len(survey.garbage),
            "bytes": _bytes(survey.garbage),
            "gpu_hours": _hours(survey.garbage),
            "log_bytes": sum(log.bytes for log in found.logs),
        },
    }


def _bytes(garbage: Iterable[Garbage]) -> int:
    return sum(one.bytes for one in garbage)


def _hours(garbage: Iterable[Garbage]) -> float:
    return sum(one.gpu_hours or 0.0 for one in garbage)


def _due(one: Garbage, now: float, wanted: Wanted) -> str:
    if one.marked is None:
        return "not marked"
    days = wanted.window_days - (now - one.marked) / DAY
    return f"in {days:.1f} days" if days > 0 else "next"


def _age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds / DAY:,.1f} d" if seconds >= DAY else f"{seconds / 3600:,.1f} h"
