"""The texts that each kind of setting accepts and rejects."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.runtime import parsers
from webhook.runtime.parsers import Address


class Color(Enum):
    """Example of a choice."""

    RED = "red"
    BLUE = "blue"


days = parsers.days_between(timedelta(hours=1), timedelta(days=365))
count = parsers.integer_between(-1, 10)

ACCEPTED: list[tuple[Callable[[str], Any], str, Any]] = [
    (parsers.address, ":8443", Address("", 8443)),
    (parsers.address, "127.0.0.1:0", Address("127.0.0.1", 0)),
    (parsers.address, "[::1]:80", Address("::1", 80)),
    (parsers.duration_seconds, "5s", 5.0),
    (parsers.duration_seconds, "1h30m", 5400.0),
    (parsers.duration_seconds, "1m0.5s", 60.5),
    (parsers.duration_seconds, "300ms", 0.3),
    (parsers.duration_between(0, 10), "10s", 10.0),
    (days, "7", timedelta(days=7)),
    (days, "0.5", timedelta(hours=12)),
    (days, "365", timedelta(days=365)),
    (count, "-1", -1),
    (count, "10", 10),
    (parsers.boolean, "true", True),
    (parsers.boolean, "false", False),
    (parsers.choice(Color), "blue", Color.BLUE),
    (parsers.one_of("a", "b"), "b", "b"),
    (parsers.words, " a, b ,,", ("a", "b")),
    (parsers.words, "", ()),
    (parsers.dns_labels, "a,b-1", ("a", "b-1")),
    (parsers.optional_path, "", None),
    (parsers.optional_path, "x/y", Path("x/y")),
    (parsers.text_value, "as it is", "as it is"),
]

REJECTED: list[tuple[Callable[[str], Any], str, str]] = [
    (parsers.address, "8443", "host:port"),
    (parsers.address, "a:b", "host:port"),
    (parsers.address, ":70000", "host:port"),
    (parsers.address, ":²", "host:port"),
    (parsers.address, "::1:80", "brackets"),
    (parsers.duration_seconds, "", "300ms"),
    (parsers.duration_seconds, "5", "300ms"),
    (parsers.duration_seconds, "5s!", "300ms"),
    (parsers.duration_seconds, "x5s", "300ms"),
    (parsers.duration_seconds, "-5s", "300ms"),
    (parsers.duration_between(0, 10), "11s", "from 0s to 10s"),
    (days, "week", "number of days"),
    (days, "nan", "number of days"),
    (days, "1e999", "number of days"),
    (days, "0.01", "from 0.04167 to 365 days"),
    (days, "366", "from 0.04167 to 365 days"),
    (days, "-7", "from 0.04167 to 365 days"),
    (count, "11", "from -1 to 10"),
    (count, "1.5", "whole number"),
    (count, "", "whole number"),
    (parsers.boolean, "yes", "true or false"),
    (parsers.choice(Color), "green", "red, blue"),
    (parsers.one_of("a", "b"), "c", "a, b"),
    (parsers.dns_labels, "a,B", "'B'"),
    (parsers.dns_labels, "-a", "'-a'"),
]


@pytest.mark.parametrize(("parse", "text", "value"), ACCEPTED)
def test_a_valid_text_is_parsed(parse: Callable[[str], Any], text: str, value: Any) -> None:
    """A valid text becomes its value."""
    assert parse(text) == value


@pytest.mark.parametrize(("parse", "text", "hint"), REJECTED)
def test_an_invalid_text_is_rejected_with_a_hint(parse: Callable[[str], Any], text: str, hint: str) -> None:
    """An invalid text is rejected, and the message says which texts are allowed."""
    with pytest.raises(ValueError, match=hint):
        parse(text)


@given(st.text(max_size=12))
def test_parsers_raise_only_value_errors(text: str) -> None:
    """For any text, a parser returns a value or raises ValueError, which becomes an error message."""
    for parse in {parse for parse, _, _ in ACCEPTED}:
        with contextlib.suppress(ValueError):
            parse(text)
