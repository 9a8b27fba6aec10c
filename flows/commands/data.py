"""`miniseries data`: which files and rows a tag's models have read, and how many times."""

from __future__ import annotations

from dataclasses import asdict

from rich.table import Table

from core.data.ledger import FileReading
from core.planning.ledger import GroupSeen, Ledger, StreamGroup, read_ledger, rows_of_file
from core.planning.ledger_listing import ledger_listing, shard_record, state_of
from core.planning.title import title
from flows.console import console, count, data_size, listing, print_json
from tasks.settings import settings_from_environment

STATES = {"packed": "packed", "planned": "planned, estimated", "gone": "not in the store any more, estimated"}


def show_ledger_json(tag: str) -> None:
    """Print the ledger."""
    print_json(ledger_listing(read_ledger(tag, settings_from_environment().open_store())))


def show_rows_json(tag: str, file: str) -> None:
    """Print how often each row of one file was read, as runs of rows."""
    store = settings_from_environment().open_store()
    ledger = read_ledger(tag, store)
    print_json(
        {"tag": ledger.recipe.tag, "file": file, "runs": [asdict(run) for run in rows_of_file(ledger, file, store)]}
    )


def show_ledger(tag: str) -> None:
    """Print tables for people: the files of pretraining, and the tasks of the fine-tunes."""
    store, out = settings_from_environment().open_store(), console()
    ledger = read_ledger(tag, store)
    out.print(_summary(ledger), markup=False, soft_wrap=True)
    out.print()
    out.print(_files(ledger))
    if ledger.finetunes:
        out.print()
        out.print(_tasks(ledger))
    out.print()
    out.print(
        "tokens seen are those trained on, as often as they were; rows are packed rows of a group. "
        "`--file FILE` shows the rows of one file.",
        soft_wrap=True,
    )
    out.print(f"store: {store.url}", markup=False, soft_wrap=True)


def show_rows(tag: str, file: str) -> None:
    """Print how often each row of one file was read."""
    store = settings_from_environment().open_store()
    table = listing("rows of the file", "documents>", "times read>")
    for run in rows_of_file(read_ledger(tag, store), file, store):
        table.add_row(f"{run.first:,} to {run.end - 1:,}", f"{run.end - run.first:,}", str(run.times))
    console().print(table)


def _summary(ledger: Ledger) -> str:
    recipe, trained = ledger.recipe, ledger.steps_trained
    steps, batch = recipe.pretraining.steps, recipe.pretraining.batch_tokens
    done = "all of it trained" if trained == steps else f"{trained:,} steps trained, {trained * batch:,} tokens"
    times = f"{'' if ledger.is_exact else 'about '}{ledger.epochs:.2f} times"
    return (
        f"{recipe.base_tag}: {steps:,} steps of {batch:,} tokens are {recipe.tokens:,}, "
        f"{times} the rows of the groups below; {done}"
    )


def _files(ledger: Ledger) -> Table:
    unfinished = ledger.steps_trained < ledger.recipe.pretraining.steps
    later = ("tokens at the end>", "times>") if unfinished else ()
    table = listing(
        *("group", "rows seen>", "file", "size>", "sha256", "documents>", "packed>", "kept>", "cropped>", "dropped>"),
        *("tokens seen>", "documents seen>", "times>", *later),
    )
    for number, seen in enumerate(ledger.groups):
        rows = f"{seen.rows_so_far:,} of {'' if seen.group.pack else '~'}{seen.group.rows:,}"
        if not seen.group.pack:
            table.add_row(str(number), rows, *_unpacked(seen, ledger))
        for now, then in zip(seen.so_far, seen.at_end, strict=True):
            at_end = (f"{then.target_tokens:,}", f"{then.times:.2f}") if unfinished else ()
            table.add_row(str(number), rows, *_file(seen.group, now), *at_end)
    return table


def _unpacked(seen: GroupSeen, ledger: Ledger) -> tuple[str, ...]:
    """A group whose files are not known: its shards, and the tokens that the horizon is expected to read of it."""
    first, end = seen.group.shards
    expected = seen.rows_at_end * ledger.recipe.architecture.sequence_length
    return (f"shards {first} to {end - 1}: {STATES[state_of(seen)]}", *[""] * 10, f"~{count(expected)}")


def _file(group: StreamGroup, reading: FileReading) -> tuple[str, ...]:
    account, record = reading.account, shard_record(group, reading.account.file)

    def share(tokens: int) -> str:
        return f"{tokens / account.tokens:.1%}" if account.tokens else ""

    return (
        account.file,
        data_size(record.bytes) if record else "",
        record.sha256[:12] if record else "",
        f"{account.documents:,}",
        f"{account.packed_documents:,}",
        share(account.kept_tokens),
        share(account.cropped_tokens),
        share(account.dropped_tokens),
        f"{reading.target_tokens:,}",
        f"{reading.documents:,}",
        f"{reading.times:.2f}",
    )


def _tasks(ledger: Ledger) -> Table:
    table = listing("fine-tune", "task", "from", "examples>", "epochs>", "conversations>", "trained on>", "truncated>")
    for seen in ledger.finetunes:
        name = title(seen.stage) + ("" if seen.is_trained else " (planned)")
        if not seen.mixture:
            table.add_row(name, "its mixture is not made yet")
        for task, counts in seen.tasks.items():
            table.add_row(
                name,
                task,
                counts["origin"],
                f"{counts['conversations'] // counts['epochs']:,}",
                str(counts["epochs"]),
                f"{counts['conversations']:,}",
                f"{counts['supervised_tokens']:,} tokens",
                f"{counts['truncated']:,}",
            )
    return table
