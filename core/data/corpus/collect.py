"""The corpus stage: shards [first, end) of a source as parquet, each read back whole before it counts.

Several shards are made at once, as many as the source says. Those that are done are saved on the way, so a stage that
was killed makes only the others; what was read, file by file, is the metric `read`.
"""

from __future__ import annotations

import shutil
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from pathlib import Path

from core.data.corpus.artifact import Corpus, Shard, read_documents, shard_file
from core.data.corpus.done_shards import DoneShard, DoneShards
from core.data.corpus.read_record import Revision
from core.data.corpus.sources import Source, find_source
from core.data.corpus.watch import Watch
from core.stages.context import Metrics, StageContext, StageError, StageUnavailable
from core.stages.identity import CorpusIdentity

BATCH_DOCUMENTS = 1024
LOOK = 0.5  # seconds between two looks at what arrives


def produce(context: StageContext[CorpusIdentity]) -> Metrics:
    """Write every shard and `corpus.json`; raise `StageError` for a shard that cannot be had or read."""
    identity = context.identity
    source = find_source(identity.source)
    if not 0 <= identity.first_shard < identity.end_shard <= source.validation_shard + 1:
        raise StageError(
            f"{source.name} has shards 0 to {source.validation_shard}; "
            f"[{identity.first_shard}, {identity.end_shard}) is no range of them"
        )
    numbers = range(identity.first_shard, identity.end_shard)
    folder = context.scratch / "shards"
    folder.mkdir()
    revision, done = _all_shards(context, source, numbers, folder)
    for number in numbers:
        shutil.move(folder / shard_file(number), context.output / shard_file(number))
    shards = tuple(done[number].shard for number in numbers)
    read = [file for number in numbers for file in done[number].read]
    _check_one_version(source, {file.version for file in read if source.one_version and file.version})
    if not any(shard.documents for shard in shards):
        raise StageError(f"shards [{numbers.start}, {numbers.stop}) of {source.name} hold no document; choose others")
    held_out = source.validation_shard if source.validation_shard in numbers else None
    corpus = Corpus(source=identity.source, revision=identity.revision, validation_shard=held_out, shards=shards)
    corpus.save(context.output)
    return {
        "shards": len(shards),
        "documents": sum(shard.documents for shard in shards),
        "characters": sum(shard.characters for shard in shards),
        "skipped_rows": sum(file.skipped for file in read),
        "revision": asdict(revision),
        "read": [asdict(file) for file in read],
    }


def _all_shards(
    context: StageContext[CorpusIdentity], source: Source, numbers: range, folder: Path
) -> tuple[Revision, dict[int, DoneShard]]:
    """Make what is not saved from an earlier try, `source.at_once` at a time; a failure says what is missing."""
    watch, saved = Watch(), DoneShards(context, folder)
    done = saved.restore(numbers)
    missing = [number for number in numbers if number not in done]
    revision = _revision(source, context.identity.revision, done, watch)
    with ThreadPoolExecutor(source.at_once) as pool:
        futures = {pool.submit(_make, source, number, revision, folder, watch): number for number in missing}
        running = set(futures)
        try:
            while running:
                finished, running = wait(running, timeout=LOOK, return_when=FIRST_COMPLETED)
                for future in finished:
                    watch.finished(shard_file(futures[future]))
                _take(finished, futures, done)
                _tell(context, watch, len(done), len(numbers))
                if running:
                    saved.save_when_worth_it(done)
        except StageError as error:
            finished, _ = _stop(running, watch)
            done |= {futures[future]: future.result() for future in finished if _succeeded(future)}
            saved.save(done)
            raise _with_missing(error, [number for number in numbers if number not in done], len(numbers)) from error
        except BaseException:
            _stop(running, watch)
            raise
    _tell(context, watch, len(numbers), len(numbers))
    return revision, done


def _revision(source: Source, asked: str, done: dict[int, DoneShard], watch: Watch) -> Revision:
    """The commit to read: that of the shards of an earlier try, or the one that `asked` is now."""
    begun = {file.version for shard in done.values() for file in shard.read if source.one_version and file.version}
    return Revision(asked=asked, commit=begun.pop()) if len(begun) == 1 else source.resolve(asked, watch)


def _make(source: Source, number: int, revision: Revision, folder: Path, watch: Watch) -> DoneShard:
    """One shard, read back; its documents are the rows of its file where the source did not count them."""
    path = folder / shard_file(number)
    read = source.write_shard(number, revision, path, watch)
    shard = _measure(number, path)
    counted = tuple(replace(file, rows=shard.documents) if file.rows is None else file for file in read)
    return DoneShard(shard=shard, read=counted)


def _measure(number: int, path: Path) -> Shard:
    documents = characters = 0
    for batch in read_documents(path, BATCH_DOCUMENTS):
        documents += len(batch)
        characters += sum(map(len, batch))
    return Shard(number=number, file=path.name, documents=documents, characters=characters)


def _take(finished: set[Future[DoneShard]], futures: dict[Future[DoneShard], int], done: dict[int, DoneShard]) -> None:
    """Move what succeeded into `done`, then raise the error of what did not."""
    done |= {futures[future]: future.result() for future in finished if _succeeded(future)}
    for future in sorted(finished, key=futures.__getitem__):
        future.result()


def _succeeded(future: Future[DoneShard]) -> bool:
    return not future.cancelled() and future.exception() is None


def _stop(running: set[Future[DoneShard]], watch: Watch) -> tuple[set[Future[DoneShard]], set[Future[DoneShard]]]:
    """End what is running and return it, ended."""
    watch.stop()
    for future in running:
        future.cancel()
    return wait(running)


def _tell(context: StageContext[CorpusIdentity], watch: Watch, done: int, total: int) -> None:
    for line in watch.take_notes():
        context.report.log(line)
    reached = done + watch.under_way()
    parts = (watch.rate(), watch.left(reached, total))
    context.report.progress(reached, total, "shards", ", ".join(part for part in parts if part))


def _with_missing(error: StageError, missing: list[int], asked: int) -> StageError:
    """The same error; where several shards were asked for, with those that are not here."""
    if asked == 1:
        return error
    kind = StageUnavailable if isinstance(error, StageUnavailable) else StageError
    named = ", ".join(map(shard_file, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    return kind(f"{error}; {asked - len(missing)} of {asked} shards are here, missing are {named}")


def _check_one_version(source: Source, versions: set[str]) -> None:
    if len(versions) > 1:
        named = " and ".join(sorted(versions)[:2])
        raise StageError(f"{source.name} changed while it was read: commits {named}; pin one of them as its revision")
