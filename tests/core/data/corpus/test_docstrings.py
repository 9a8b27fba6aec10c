"""Documents of a module: docstrings under their signatures, nothing else, nothing run."""

from __future__ import annotations

from core.data.corpus.docstrings import module_documents

SOURCE = b'''
"""The module says what it is for."""

raise SystemExit("this module must not be imported")


def measure(length: int, *, unit="m") -> float:
    """Return the length

        indented in that unit of measure,
    which is the metre unless you say otherwise.
    """


async def fetch(url):
    """Fetch the page behind the given address."""


def silent():
    return "a string that is no docstring at all"


class Shelf(dict, metaclass=type):
    def find(self, title):
        """Find a book by its title."""

    def short(self):
        """Too short."""


class Empty:
    pass
'''


def test_documents_are_docstrings_under_their_signatures() -> None:
    documents = list(module_documents(SOURCE, "library.shelf", keep=lambda text: text))
    assert documents == [
        "Module library.shelf\n\nThe module says what it is for.",
        "def measure(length: int, *, unit='m') -> float:\n"
        "    Return the length\n\n        indented in that unit of measure,\n"
        "    which is the metre unless you say otherwise.",
        "async def fetch(url):\n    Fetch the page behind the given address.",
        "class Shelf(dict, metaclass=type):\n    def find(self, title):\n        Find a book by its title.",
    ]


def test_what_keep_empties_is_left_out() -> None:
    documents = list(module_documents(SOURCE, "library", keep=lambda text: "" if "book" in text else text))
    assert not any("class" in document for document in documents)
    assert len(documents) == 3
