"""Lines come out whole, whatever the pieces, and endless ones are refused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.controller.core.lines import LineSplitter, LineTooLongError


@given(st.binary(), st.lists(st.integers(0, 100)))
def test_lines_do_not_depend_on_the_pieces(stream: bytes, cuts: list[int]) -> None:
    """However a stream is cut, its lines are those of the whole, and an unfinished one is kept back."""
    splitter = LineSplitter()
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    assert lines == [line for line in stream.split(b"\n")[:-1] if line]


def test_a_line_may_be_as_long_as_allowed_and_no_longer() -> None:
    """The bound holds for a line in many pieces as for one in one piece."""
    splitter = LineSplitter(longest=6)
    assert splitter.feed(b"abc") == []
    assert splitter.feed(b"def\nghi") == [b"abcdef"]
    with pytest.raises(LineTooLongError):
        splitter.feed(b"jklm")
    with pytest.raises(LineTooLongError):
        LineSplitter(longest=6).feed(b"abcdefg\n")


def test_a_whole_line_is_not_copied_again() -> None:
    """One that came in one piece costs one slice."""
    (line,) = LineSplitter().feed(b"x" * 1000 + b"\n")
    assert line == b"x" * 1000
