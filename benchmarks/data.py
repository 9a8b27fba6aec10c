"""Data preparation, timed: tokenising, packing, both, reading back, next to a buffer-scan loader on the same documents.

    python -m benchmarks.data [--folder DIR] [--row-tokens 2049] [--json FILE]

Documents are those of `python-docs`, or of every parquet file with a `text` column in a folder, repeated to
`--megabytes`. "tokenise" reads parquet and tokenises as the pack stage does, "to lists" as tiktoken's own batches do.
"tokenise and pack" is the pack stage's own function, parquet in, rows on disk out; the buffer scan does the same in
the obvious way, and its rows must be equal, byte by byte. Programs take turns, and medians of rounds count. Processor
time (user and system, all threads) says more than the clock where other work runs; "of tokenising" compares within a
round. Peak memory is what a fresh process grows by, imports not counted (Linux).
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from artifacts.progress import SavedCheckpoint
from benchmarks.support.buffer_scan import scanned_rows, token_lists
from benchmarks.support.machine import cpu_name
from benchmarks.support.stage_environment import compute_as_stages_do
from core.data import tokenizer_training
from core.data.best_fit import BestFitPacker
from core.data.corpus.artifact import Corpus, Shard, read_documents, shard_file, write_documents
from core.data.corpus.python_docs_shards import shards
from core.data.direction import packed_row_sets
from core.data.pack import ALGORITHM, ROWS_AT_ONCE, DocumentReader, write_rows
from core.data.rows import Rows, RowsWriter, Stream
from core.data.tokenizer import Tokenizer
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN
from core.stages.context import StageContext
from core.stages.identity import PackIdentity, TokenizerIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime

ROUNDS = 5
READ_ROWS = 64  # at once
BUFFER_DOCUMENTS = 1000


class NoCheckpoints:
    """Packing saves nothing on its way."""

    def save(self, step: int, directory: Path) -> None:
        """Never called."""
        raise AssertionError("packing saved a checkpoint")

    def newest(self) -> SavedCheckpoint | None:
        """There is none."""
        return None

    def add(self, step: int, directory: Path) -> None:
        """Never called."""
        raise AssertionError("packing saved a checkpoint")

    def every(self) -> list[SavedCheckpoint]:
        """There is none."""
        return []


@dataclass(frozen=True)
class Workplace:
    """A corpus of one shard, its tokenizer, and where rows go."""

    root: Path
    row_tokens: int

    @property
    def shard(self) -> Path:
        """The one parquet file."""
        return self.root / "corpus" / shard_file(0)

    @property
    def tokenizer(self) -> Tokenizer:
        """Loaded anew."""
        return Tokenizer.load(self.root / "tokenizer")

    def context(self, identity: Any, output: str) -> StageContext[Any]:
        """What a stage of this corpus gets."""
        (self.root / output).mkdir(exist_ok=True)
        return StageContext(
            name="benchmark",
            key="0" * 64,
            identity=identity,
            inputs={"corpus": self.root / "corpus", "tokenizer": self.root / "tokenizer"},
            output=self.root / output,
            scratch=self.root,
            checkpoints=NoCheckpoints(),
            report=Reporter(io.StringIO()),
            runtime=Runtime(),
        )


def tokenise(workplace: Workplace, tokenizer: Tokenizer) -> None:
    """What the pack stage reads, thrown away."""
    [policy] = packed_row_sets("forward", tokenizer, 0).values()
    folder = workplace.root / "corpus"
    reader = DocumentReader(folder, Corpus.load(folder).shards, tokenizer, policy, Reporter(io.StringIO()))
    for _ in reader.sequences():
        pass


def tokenise_to_lists(workplace: Workplace, tokenizer: Tokenizer) -> None:
    """The same documents by tiktoken's own batches, on as many threads."""
    for _ in token_lists(workplace.shard, tokenizer, os.cpu_count() or 1):
        pass


def pack(workplace: Workplace, tokenizer: Tokenizer, documents: list[np.ndarray]) -> None:
    """Our packer and writer on arrays in memory."""
    packer = BestFitPacker(workplace.row_tokens, BUFFER_DOCUMENTS)
    with RowsWriter(workplace.root, "packed", workplace.row_tokens, tokenizer.vocabulary_size) as writer:
        for block in packer.blocks(documents, ROWS_AT_ONCE):
            writer.append(block)


def scan(workplace: Workplace, tokenizer: Tokenizer, documents: list[list[int]]) -> None:
    """The buffer scan on lists in memory."""
    with RowsWriter(workplace.root, "scanned", workplace.row_tokens, tokenizer.vocabulary_size) as writer:
        for row in scanned_rows(documents, workplace.row_tokens, BUFFER_DOCUMENTS):
            writer.append(row)


def tokenise_and_pack(workplace: Workplace, tokenizer: Tokenizer) -> None:
    """The pack stage's own function."""
    identity = PackIdentity(
        row_tokens=workplace.row_tokens,
        algorithm=ALGORITHM,
        buffer_documents=BUFFER_DOCUMENTS,
        direction="forward",
        direction_seed=0,
        first_shard=0,
        end_shard=1,
    )
    [(name, policy)] = packed_row_sets("forward", tokenizer, 0).items()
    write_rows(workplace.context(identity, "pack"), name, tokenizer, policy)


def tokenise_and_scan(workplace: Workplace, tokenizer: Tokenizer) -> None:
    """The straightforward loader."""
    with RowsWriter(workplace.root, "loaded", workplace.row_tokens, tokenizer.vocabulary_size) as writer:
        lists = token_lists(workplace.shard, tokenizer, os.cpu_count() or 1)
        for row in scanned_rows(lists, workplace.row_tokens, BUFFER_DOCUMENTS):
            writer.append(row)


def read_back(workplace: Workplace, tokenizer: Tokenizer) -> None:
    """Every packed row once, as training reads them."""
    stream = Stream([Rows.open(workplace.root / "pack")])
    for start in range(0, stream.rows_per_epoch, READ_ROWS):
        stream.read(start, min(READ_ROWS, stream.rows_per_epoch - start))


WITH_TOKENISING: dict[str, Callable[[Workplace, Tokenizer], None]] = {
    "tokenise and pack": tokenise_and_pack,
    "tokenise and buffer scan": tokenise_and_scan,
}


def peak_growth(name: str, root: Path, row_tokens: int) -> int:
    """Bytes by which this fresh process grows at most while it tokenises and packs."""
    workplace = Workplace(root, row_tokens)
    tokenizer = workplace.tokenizer
    tokenizer.encode("built on first use")
    before = psutil.Process().memory_info().rss
    WITH_TOKENISING[name](workplace, tokenizer)
    return peak_resident() - before


def peak_resident() -> int:
    """Bytes of this program's largest resident set. Linux: `getrusage` would count the parent's from before `exec`."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def documents_of(folder: Path | None) -> list[str]:
    """The documents to work on, once."""
    if folder is None:
        return [text for shard in shards() for text in shard]
    batches = chain.from_iterable(read_documents(path, BUFFER_DOCUMENTS) for path in sorted(folder.glob("*.parquet")))
    return [text for batch in batches for text in batch if text]


def repeated(documents: list[str], size: int) -> Iterator[str]:
    """The documents again and again, until they have `size` bytes."""
    total = 0
    for text in cycle(documents):
        if total >= size:
            return
        total += len(text.encode())
        yield text


def prepare(root: Path, arguments: argparse.Namespace) -> tuple[Workplace, int]:
    """Write corpus and tokenizer; returns the workplace and the bytes of text in it."""
    workplace = Workplace(root, arguments.row_tokens)
    documents = documents_of(arguments.folder)
    if not documents:
        raise SystemExit(f"{arguments.folder} holds no parquet file with documents; give another --folder")
    texts = list(repeated(documents, int(arguments.megabytes * 1e6)))
    characters = sum(map(len, texts))
    (root / "corpus").mkdir()
    write_documents(workplace.shard, texts)
    shard = Shard(number=0, file=workplace.shard.name, documents=len(texts), characters=characters)
    Corpus(source="benchmark", revision="1", validation_shard=None, shards=(shard,)).save(root / "corpus")
    identity = TokenizerIdentity(
        vocabulary_size=arguments.vocabulary,
        pattern=SPLIT_PATTERN,
        special_tokens=SPECIAL_TOKENS,
        max_characters=20_000_000,
        document_cap=10_000,
    )
    tokenizer_training.produce(workplace.context(identity, "tokenizer"))
    return workplace, sum(len(text.encode()) for text in texts)


def measure(arguments: argparse.Namespace, root: Path) -> dict[str, Any]:
    """Everything that is reported, as JSON values."""
    workplace, size = prepare(root, arguments)
    tokenizer, cores = workplace.tokenizer, os.cpu_count() or 1
    lists = list(token_lists(workplace.shard, tokenizer, cores))
    arrays = [np.array(tokens, dtype=np.uint32) for tokens in lists]
    tokens = sum(map(len, lists))
    programs: dict[str, Callable[[], None]] = {
        "tokenise": partial(tokenise, workplace, tokenizer),
        "tokenise to lists": partial(tokenise_to_lists, workplace, tokenizer),
        "pack": partial(pack, workplace, tokenizer, arrays),
        "buffer scan": partial(scan, workplace, tokenizer, lists),
        **{name: partial(program, workplace, tokenizer) for name, program in WITH_TOKENISING.items()},
        "read back": partial(read_back, workplace, tokenizer),
    }
    rounds = take_turns(programs, arguments.rounds)
    alone = rounds["tokenise"]
    packed = (root / "pack" / "rows.bin").read_bytes()
    if any((root / f"{name}.bin").read_bytes() != packed for name in ("packed", "scanned", "loaded")):
        raise SystemExit("the buffer scan's rows are not the pack stage's: one of the two is wrong")
    rows = Rows.open(root / "pack")
    amounts = dict.fromkeys(programs, (size, tokens))
    amounts["read back"] = (len(packed), rows.count * rows.row_tokens)
    spawn = multiprocessing.get_context("spawn")
    peaks = {}
    for name in WITH_TOKENISING:
        with spawn.Pool(1) as pool:
            peaks[name] = pool.apply(peak_growth, (name, root, arguments.row_tokens))
    return {
        "device": cpu_name(),
        "cores": cores,
        "documents": len(lists),
        "bytes": size,
        "tokens": tokens,
        "row_tokens": arguments.row_tokens,
        "rows": rows.statistics,
        "programs": [
            {
                "program": name,
                "megabytes_per_second": amounts[name][0] / 1e6 / median([one.clock for one in taken]),
                "tokens_per_second_per_core": amounts[name][1] / median([one.clock for one in taken]) / cores,
                "of_tokenising": median([base.clock / one.clock for base, one in zip(alone, taken, strict=True)]),
                "of_tokenising_processor": median(
                    [base.processor / one.processor for base, one in zip(alone, taken, strict=True)]
                ),
                "megabytes_per_processor_second": amounts[name][0] / 1e6 / median([one.processor for one in taken]),
                "seconds": [one.clock for one in taken],
                "processor_seconds": [one.processor for one in taken],
                "peak_growth_bytes": peaks.get(name),
            }
            for name, taken in rounds.items()
        ],
    }


@dataclass(frozen=True)
class Taken:
    """Seconds of one round of a program."""

    clock: float
    processor: float  # user and system, of all threads


def take_turns(programs: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[Taken]]:
    """Every round of each program, after one that does not count."""
    taken: dict[str, list[Taken]] = {name: [] for name in programs}
    for number in range(rounds + 1):
        for name, program in programs.items():
            started, used = time.perf_counter(), time.process_time()
            program()
            if number > 0:
                taken[name].append(Taken(time.perf_counter() - started, time.process_time() - used))
    return taken


def table_of(result: dict[str, Any]) -> Table:
    """A line a program."""
    table = Table(
        *("program", "MB/s", "tokens/s per core", "of tokenising", "MB/CPU s", "of tokenising, CPU", "peak growth MB"),
        title=f"{result['documents']:,} documents, {result['bytes'] / 1e6:.1f} MB, {result['tokens']:,} tokens, "
        f"rows of {result['row_tokens']:,}, {result['cores']} cores of {result['device']}",
    )
    for one in result["programs"]:
        table.add_row(
            one["program"],
            f"{one['megabytes_per_second']:.1f}",
            f"{one['tokens_per_second_per_core']:,.0f}",
            f"{one['of_tokenising']:.2f}",
            f"{one['megabytes_per_processor_second']:.1f}",
            f"{one['of_tokenising_processor']:.2f}",
            "-" if one["peak_growth_bytes"] is None else f"{one['peak_growth_bytes'] / 1e6:.0f}",
        )
    speed = {one["program"]: one["megabytes_per_second"] for one in result["programs"]}
    ratio = speed["tokenise and pack"] / speed["tokenise and buffer scan"]
    alone = speed["pack"] / speed["buffer scan"]
    table.caption = f"miniseries / buffer scan: {ratio:.2f} with tokenising, {alone:.1f} without; the rows are equal"
    return table


def main() -> None:
    """Measure, print the table, write the JSON."""
    compute_as_stages_do()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, metavar="DIR", help="parquet files (default: python-docs)")
    parser.add_argument("--megabytes", type=float, default=20.0, help="of text, the documents repeated (default: 20)")
    parser.add_argument("--row-tokens", type=int, default=2049, help="T + 1 (default: 2049)")
    parser.add_argument("--vocabulary", type=int, default=8192, help="tokens (default: 8192)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each program (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="miniseries-benchmark-") as folder:
        result = measure(arguments, Path(folder))
    Console(width=None if sys.stdout.isatty() else 140).print(table_of(result))
    print(json.dumps({name: value for name, value in result.items() if name != "programs"}))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
