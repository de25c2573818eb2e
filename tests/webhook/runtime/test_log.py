"""The log: one JSON object per line with a constant event, and only the template of a library's message."""

from __future__ import annotations

import io
import json
import logging

import pytest

from webhook.runtime import log


def test_a_line_is_an_object_with_fields() -> None:
    """A line has a constant event, a level, a time, and variable data in further fields."""
    stream = io.StringIO()
    log.configure("info", "json", stream).info("something happened", namespace="ü")
    line = json.loads(stream.getvalue())
    assert line["event"] == "something happened"
    assert line["namespace"] == "ü"
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")


def test_events_below_the_level_are_not_written() -> None:
    """At the level `warning`, events of the level `info` are not written."""
    stream = io.StringIO()
    logger = log.configure("warning", "json", stream)
    logger.info("an information")
    logger.warning("a warning")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["a warning"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_messages_of_libraries_are_logged_without_arguments(log_format: str) -> None:
    """Arguments of a library's message and texts of its exceptions can be data of a client; they are not logged.

    In their place is an ellipsis.
    """
    stream = io.StringIO()
    log.configure("info", log_format, stream)
    try:
        int("hush")
    except ValueError:
        logging.getLogger("some.library").exception("Cannot read %s of %-5.2f%%", "hush", 1.5)
    assert "some.library" in stream.getvalue()
    assert "Cannot read … of …%" in stream.getvalue()
    assert "ValueError" in stream.getvalue()
    assert "hush" not in stream.getvalue()


def test_a_traceback_has_its_frames_without_values() -> None:
    """A traceback has the frames; the values of variables and the text of the exception are not logged."""
    stream = io.StringIO()
    logger = log.configure("info", "json", stream)
    body = "hush"
    with pytest.raises(ValueError, match=body) as caught:
        int(body)
    logger.error("a defect", exc_info=caught.value)
    line = json.loads(stream.getvalue())
    assert line["exception"][0]["exc_type"] == "ValueError"
    assert line["exception"][0]["frames"][-1]["name"] == "test_a_traceback_has_its_frames_without_values"
    assert "hush" not in stream.getvalue()


def test_a_problem_is_logged_when_it_is_new_and_when_it_is_over() -> None:
    """A repeated problem is logged once; another problem, a recovery, and a later problem are logged again."""
    stream = io.StringIO()
    changes = log.ChangeLogger(log.configure("info", "json", stream))
    changes.recovered("fine")
    for problem in ("a", "a", "b", "a"):
        changes.failed("wrong", problem)
    changes.recovered("fine")
    changes.recovered("fine")
    changes.failed("wrong", "a")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    logged = [(line["event"], line.get("problem")) for line in lines]
    assert logged == [("wrong", "a"), ("wrong", "b"), ("wrong", "a"), ("fine", None), ("wrong", "a")]


def test_a_change_is_logged_once() -> None:
    """The same event with the same detail is logged once, until `reset`."""
    stream = io.StringIO()
    changes = log.ChangeLogger(log.configure("info", "json", stream))
    for detail in ("a", "a", "b"):
        changes.changed("leader", detail)
    changes.reset()
    changes.changed("leader", "b")
    logged = [json.loads(line)["detail"] for line in stream.getvalue().splitlines()]
    assert logged == ["a", "b", "b"]
