"""What each kind of setting accepts."""

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

from webhook import values
from webhook.values import Address


class Color(Enum):
    """Something to choose from."""

    RED = "red"
    BLUE = "blue"


days = values.days_between(timedelta(hours=1), timedelta(days=365))
count = values.integer_between(-1, 10)

ACCEPTED: list[tuple[Callable[[str], Any], str, Any]] = [
    (values.address, ":8443", Address("", 8443)),
    (values.address, "127.0.0.1:0", Address("127.0.0.1", 0)),
    (values.address, "[::1]:80", Address("::1", 80)),
    (values.duration_seconds, "5s", 5.0),
    (values.duration_seconds, "1h30m", 5400.0),
    (values.duration_seconds, "1m0.5s", 60.5),
    (values.duration_seconds, "300ms", 0.3),
    (values.duration_between(0, 10), "10s", 10.0),
    (days, "7", timedelta(days=7)),
    (days, "0.5", timedelta(hours=12)),
    (days, "365", timedelta(days=365)),
    (count, "-1", -1),
    (count, "10", 10),
    (values.boolean, "true", True),
    (values.boolean, "false", False),
    (values.choice(Color), "blue", Color.BLUE),
    (values.one_of("a", "b"), "b", "b"),
    (values.words, " a, b ,,", ("a", "b")),
    (values.words, "", ()),
    (values.dns_labels, "a,b-1", ("a", "b-1")),
    (values.optional_path, "", None),
    (values.optional_path, "x/y", Path("x/y")),
    (values.text_value, "as it is", "as it is"),
]

REFUSED: list[tuple[Callable[[str], Any], str, str]] = [
    (values.address, "8443", "host:port"),
    (values.address, "a:b", "host:port"),
    (values.address, ":70000", "host:port"),
    (values.address, ":²", "host:port"),
    (values.address, "::1:80", "brackets"),
    (values.duration_seconds, "", "300ms"),
    (values.duration_seconds, "5", "300ms"),
    (values.duration_seconds, "5s!", "300ms"),
    (values.duration_seconds, "x5s", "300ms"),
    (values.duration_seconds, "-5s", "300ms"),
    (values.duration_between(0, 10), "11s", "from 0s to 10s"),
    (days, "week", "number of days"),
    (days, "nan", "number of days"),
    (days, "1e999", "number of days"),
    (days, "0.01", "from 0.04167 to 365 days"),
    (days, "366", "from 0.04167 to 365 days"),
    (days, "-7", "from 0.04167 to 365 days"),
    (count, "11", "from -1 to 10"),
    (count, "1.5", "whole number"),
    (count, "", "whole number"),
    (values.boolean, "yes", "true or false"),
    (values.choice(Color), "green", "red, blue"),
    (values.one_of("a", "b"), "c", "a, b"),
    (values.dns_labels, "a,B", "'B'"),
    (values.dns_labels, "-a", "'-a'"),
]


@pytest.mark.parametrize(("parse", "text", "value"), ACCEPTED)
def test_accepts(parse: Callable[[str], Any], text: str, value: Any) -> None:
    """A good text becomes its value."""
    assert parse(text) == value


@pytest.mark.parametrize(("parse", "text", "hint"), REFUSED)
def test_refuses_and_says_what_is_allowed(parse: Callable[[str], Any], text: str, hint: str) -> None:
    """A bad text is refused with what would be right."""
    with pytest.raises(ValueError, match=hint):
        parse(text)


@given(st.text(max_size=12))
def test_no_parser_raises_anything_else(text: str) -> None:
    """Whatever is typed, a parser returns or raises ValueError, which becomes a clear message."""
    for parse in {parse for parse, _, _ in ACCEPTED}:
        with contextlib.suppress(ValueError):
            parse(text)
