"""Real prose that every Python carries: the reference topics of `pydoc` and the docstrings of the standard library.

Guarantees: the same interpreter gives the same documents; sources are parsed, never imported; no paragraph of
50 characters is kept twice, so none stands on both sides of the split between training and validation.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from core.data.corpus import python_docs
from core.data.corpus.artifact import write_documents
from core.data.corpus.docstrings import module_documents
from core.data.corpus.paragraphs import Unseen, passages
from core.data.corpus.python_docs import NAME, root, source_files
from core.data.corpus.read_record import FileRead, Revision
from core.data.corpus.watch import Watch
from core.stages.context import StageError

TRAINING_SHARDS = 8
SEED = 42
LONGEST = 1000  # characters, some 300 tokens: at T = 256, whole documents would lose 51 % to crops, passages lose 8 %
TOPICS_FILE = "pydoc_data/topics.py"


class PythonDocs:
    """The source `python-docs`: modules and topics dealt to equal shards, the last of them for validation."""

    name = NAME
    validation_shard = TRAINING_SHARDS
    at_once = 1
    one_version = False

    def resolve(self, revision: str, watch: Watch) -> Revision:
        """The revision names the sources themselves."""
        return Revision(asked=revision)

    def write_shard(self, number: int, revision: Revision, target: Path, watch: Watch) -> tuple[FileRead, ...]:
        """Write shard `number`; raise `StageError` when this interpreter is not the one that `revision` names.

        Which files it was made from is what the revision says.
        """
        here = python_docs.revision()
        if revision.asked != here:
            raise StageError(f"{NAME} {revision.asked} needs that very interpreter; this one carries {here}")
        write_documents(target, shards()[number])
        return ()


@cache
def shards() -> tuple[tuple[str, ...], ...]:
    """The documents of every shard, validation last: each unit goes to the smallest so far, then each is shuffled."""
    dealt: list[list[str]] = [[] for _ in range(TRAINING_SHARDS + 1)]
    sizes = [0] * len(dealt)  # characters
    for documents in _units():
        smallest = sizes.index(min(sizes))
        sizes[smallest] += sum(map(len, documents))
        dealt[smallest] += [passage for document in documents for passage in passages(document, LONGEST)]
    for number, documents in enumerate(dealt):
        random.Random(SEED + number).shuffle(documents)
    return tuple(map(tuple, dealt))


def _units() -> Iterator[list[str]]:
    """What is dealt as one: a topic, or all documents of a source file. Never empty."""
    unseen = Unseen()
    topics = _topics((root() / TOPICS_FILE).read_bytes())
    # A topic may contain others verbatim: the short ones go first, so that the long ones lose what they repeat.
    for _, text in sorted(topics.items(), key=lambda item: (len(item[1]), item[0])):
        if kept := unseen.keep(text.strip()):
            yield [kept]
    for path in source_files():
        module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if documents := list(module_documents((root() / path).read_bytes(), module, unseen.keep)):
            yield documents


def _topics(source: bytes) -> dict[str, str]:
    """The literal dictionary that the module assigns: topic -> text."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            return {str(name): str(text) for name, text in ast.literal_eval(node.value).items()}
    raise StageError(f"{TOPICS_FILE} of this interpreter assigns no table of topics; use a complete Python")
