"""Where stop texts end an answer, however it comes in pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.posttraining.conversation import Part
from core.serving.stop_strings import StopStrings

FEW = st.text("abc", max_size=12)


class Pieces:
    """Token i is the i-th of some pieces."""

    def __init__(self, pieces: list[Part]) -> None:
        self._pieces = pieces

    def push(self, token: int) -> list[Part]:
        return [self._pieces[token]]

    def finish(self) -> list[Part]:
        return []


def passed(pieces: list[Part], stops: list[str]) -> tuple[list[Part], bool]:
    stream = StopStrings(Pieces(pieces), stops)
    parts = [part for number in range(len(pieces)) for part in stream.push(number)]
    return [*parts, *stream.finish()], stream.is_met


def prose(parts: list[Part]) -> str:
    return "".join(part.text for part in parts)


@given(st.lists(FEW, max_size=8), st.lists(st.text("abc", min_size=1, max_size=4), max_size=4))
def test_the_text_ends_before_the_stop_that_is_first_complete(texts: list[str], stops: list[str]) -> None:
    text = "".join(texts)
    parts, is_met = passed([Part("text", piece) for piece in texts], stops)
    ends = [end for end in range(1, len(text) + 1) if any(text[:end].endswith(stop) for stop in stops)]
    if not ends:
        assert (prose(parts), is_met) == (text, False)
        return
    longest = max(len(stop) for stop in stops if text[: ends[0]].endswith(stop))
    assert (prose(parts), is_met) == (text[: ends[0] - longest], True)


@given(st.lists(FEW, max_size=8))
def test_without_stops_nothing_is_held_back(texts: list[str]) -> None:
    stream = StopStrings(Pieces([Part("text", piece) for piece in texts]), [])
    assert [prose(stream.push(number)) for number in range(len(texts))] == texts


def test_a_call_of_python_is_no_prose_and_parts_it() -> None:
    pieces = [Part("text", "a"), Part("python", "bc"), Part("text", "bc"), Part("text", "abcd")]
    assert passed(pieces, ["abc"]) == ([Part("text", "a"), Part("python", "bc"), Part("text", "bc")], True)
