"""Play the crash matrix and print its table.

    python -m benchmarks.crash_matrix [--only TEXT ...] [--at-once 2] [--json] [--write docs/crash-matrix.md]
                                      [--results FILE [--table-only]]

Exits 1 when an invariant does not hold in some row. With `--results`, each row is appended to a file as it ends, and
rows that are in it are not played again: a matrix that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import mkdtemp
from types import FrameType

from artifacts.provenance import capture
from benchmarks.crash_matrix.case import Case, Result
from benchmarks.crash_matrix.cases import all_cases
from benchmarks.crash_matrix.play import play, unplayable
from benchmarks.crash_matrix.preparation import NotPermitted, Prepared, prepare
from benchmarks.crash_matrix.servers import end_family_of
from benchmarks.crash_matrix.table import document, line


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="TEXT", action="append", help="rows whose name has one of these texts in it")
    parser.add_argument("--at-once", type=int, default=1, help="rows played at once (default: 1)")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table there, as Markdown")
    parser.add_argument("--results", type=Path, metavar="FILE", help="append rows there, and skip those in it")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what broken cases left behind there")
    parser.add_argument("--table-only", action="store_true", help="play nothing: the table of what --results holds")
    parser.add_argument("--list", action="store_true", help="only name the rows")
    arguments = parser.parse_args()
    wanted = arguments.only or [""]
    cases = [case for case in all_cases() if any(text in case.name for text in wanted)]
    if arguments.list:
        print("\n".join(case.name for case in cases))
        return
    found, revision = read_results(arguments.results), code_revision()
    missing = [case for case in cases if case.name not in found]
    if missing and not arguments.table_only:
        with laboratory() as folder:
            found |= play_all(missing, prepare(folder), revision, arguments)
    results = [found[case.name] for case in cases if case.name in found]
    page = document(results, len(cases))
    print(json.dumps([asdict(result) for result in results], indent=1) if arguments.json else page)
    if arguments.write:
        arguments.write.parent.mkdir(exist_ok=True)
        arguments.write.write_text(page, encoding="utf-8")
    sys.exit(1 if any(result.wrong for result in results) else 0)


def read_results(path: Path | None) -> dict[str, Result]:
    """Rows that were played before, by name."""
    if path is None or not path.exists():
        return {}
    rows = [Result(**json.loads(text)) for text in path.read_text(encoding="utf-8").splitlines()]
    return {row.name: row for row in rows}


@contextmanager
def laboratory() -> Iterator[Path]:
    """A folder for all cases. It goes, and every process that was started goes, also when we are told to stop."""
    folder = Path(mkdtemp(prefix="miniseries-crash-"))

    def end() -> None:
        end_family_of(os.getpid())
        shutil.rmtree(folder, ignore_errors=True)

    def stop(number: int, _frame: FrameType | None) -> None:
        end()
        end_family_of(os.getpid())  # what the threads that play cases have started meanwhile: they cannot be told
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        yield folder
    finally:
        end()


def code_revision() -> str:
    """Of this checkout, short; ends in + where it was changed."""
    provenance = capture()
    return str(provenance["revision"] or "")[:9] + ("+" if provenance["dirty"] else "")


def play_all(
    cases: Sequence[Case], shared: Prepared, revision: str, arguments: argparse.Namespace
) -> Mapping[str, Result]:
    """Every case that this machine permits, by name; a line on standard error as each ends."""
    results: dict[str, Result] = {}
    cases = sorted(cases, key=lambda case: -case.waiting_seconds)
    with ThreadPoolExecutor(max_workers=arguments.at_once) as pool:
        futures = {
            pool.submit(play, case, shared, shared.folder / f"case-{number:02d}"): case
            for number, case in enumerate(cases)
        }
        for number, future in enumerate(as_completed(futures), start=1):
            case = futures[future]
            try:
                result = replace(future.result(), revision=revision)
            except NotPermitted as reason:
                print(f"{case.name}: not played: {reason}", file=sys.stderr, flush=True)
                continue
            except Exception as error:  # noqa: BLE001 -- told as its row; the others are worth playing
                result = unplayable(case, error)
            results[case.name] = result
            print(f"{number}/{len(cases)} {line(result)}", file=sys.stderr, flush=True)
            if arguments.results and result.attempts:
                _append(result, arguments.results)
            _keep_or_remove(shared.folder / f"case-{cases.index(case):02d}", arguments.keep if result.wrong else None)
    return results


def _append(result: Result, path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result)) + "\n")


def _keep_or_remove(folder: Path, keep: Path | None) -> None:
    if keep is not None and folder.exists():
        shutil.copytree(folder, keep / folder.name, ignore=shutil.ignore_patterns("small"), dirs_exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
