"""Play the crash matrix and print its table.

    python -m benchmarks.crash_matrix [--only TEXT] [--at-once 2] [--json] [--write docs/crash-matrix.md] [--keep DIR]

Exits 1 when an invariant does not hold in some row.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.crash_matrix.cases import all_cases
from benchmarks.crash_matrix.judge import weights
from benchmarks.crash_matrix.scene import (
    Case,
    NotPermitted,
    Prepared,
    Result,
    open_store,
    play,
    undisturbed_store,
    without_stages_under_fire,
)
from benchmarks.crash_matrix.servers import start_prefect
from benchmarks.crash_matrix.table import as_json, document, line


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="TEXT", help="rows whose name has this text in it")
    parser.add_argument("--at-once", type=int, default=1, help="rows played at once (default: 1)")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table there, as Markdown")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what the cases left behind there")
    parser.add_argument("--list", action="store_true", help="only name the rows")
    arguments = parser.parse_args()
    cases = [case for case in all_cases() if not arguments.only or arguments.only in case.name]
    if arguments.list:
        print("\n".join(case.name for case in cases))
        return
    with TemporaryDirectory(prefix="miniseries-crash-") as folder, prepared(Path(folder)) as shared:
        results = play_all(cases, shared, arguments.at_once)
        if arguments.keep:
            shutil.copytree(folder, arguments.keep, ignore=shutil.ignore_patterns("small"), dirs_exist_ok=True)
    print(json.dumps([as_json(result) for result in results], indent=1) if arguments.json else document(results))
    if arguments.write:
        arguments.write.parent.mkdir(exist_ok=True)
        arguments.write.write_text(document(results), encoding="utf-8")
    sys.exit(1 if any(result.wrong for result in results) else 0)


@contextmanager
def prepared(folder: Path) -> Iterator[Prepared]:
    """A Prefect server, what an undisturbed run makes, and the store that every case begins with."""
    prefect = start_prefect(folder / "prefect")
    try:
        undisturbed = undisturbed_store(folder, prefect)
        yield Prepared(
            folder=folder,
            store=without_stages_under_fire(undisturbed, folder / "prepared"),
            undisturbed=weights(open_store(str(undisturbed), folder / "judge")),
            prefect=prefect,
        )
    finally:
        prefect.end()


def play_all(cases: Sequence[Case], shared: Prepared, at_once: int) -> list[Result]:
    """Every case that this machine permits, in the order of the table; a line on standard error as each ends."""
    results: dict[str, Result] = {}
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        futures = {
            pool.submit(play, case, shared, shared.folder / f"case-{number:02d}"): case
            for number, case in enumerate(cases)
        }
        for future in as_completed(futures):
            case = futures[future]
            try:
                results[case.name] = future.result()
            except NotPermitted as reason:
                print(f"{case.name}: not played: {reason}", file=sys.stderr, flush=True)
                continue
            print(line(results[case.name]), file=sys.stderr, flush=True)
    return [results[case.name] for case in cases if case.name in results]


if __name__ == "__main__":
    main()
