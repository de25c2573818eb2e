"""Splitting of a stream into lines: chunks of any size, and a limit of the length."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.kube.core.stream import LineSplitter, LineTooLongError


@given(st.binary(), st.lists(st.integers(0, 100)))
def test_lines_do_not_depend_on_the_chunks(stream: bytes, cuts: list[int]) -> None:
    """For any chunks, the complete lines are those of the whole stream."""
    splitter = LineSplitter()
    offsets = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    chunks = [stream[start:end] for start, end in itertools.pairwise(offsets)]
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    assert lines == [line for line in stream.split(b"\n")[:-1] if line]


def test_the_length_of_a_line_is_limited() -> None:
    """The limit applies to a line in one chunk and to a line in several chunks."""
    splitter = LineSplitter(limit=6)
    assert splitter.feed(b"abc") == []
    assert splitter.feed(b"def\nghi") == [b"abcdef"]
    with pytest.raises(LineTooLongError):
        splitter.feed(b"jklm")
    with pytest.raises(LineTooLongError):
        LineSplitter(limit=6).feed(b"abcdefg\n")


def test_a_line_in_one_chunk_is_returned() -> None:
    """A long line in one chunk is returned unchanged."""
    (line,) = LineSplitter().feed(b"x" * 1000 + b"\n")
    assert line == b"x" * 1000
