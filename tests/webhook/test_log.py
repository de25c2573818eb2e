"""The log: one JSON object a line, constant text, and no more of a library's message than its template."""

from __future__ import annotations

import io
import json
import logging

import pytest

from webhook import log


def test_a_line_is_an_object_with_fields() -> None:
    """The text is constant; what varies stands in fields of its own."""
    stream = io.StringIO()
    log.configure("info", "json", stream).info("Something happened.", namespace="ü")
    line = json.loads(stream.getvalue())
    assert line["event"] == "Something happened."
    assert line["namespace"] == "ü"
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")


def test_less_than_the_level_is_not_written() -> None:
    """At `warning` an information is dropped."""
    stream = io.StringIO()
    logger = log.configure("warning", "json", stream)
    logger.info("Quiet.")
    logger.warning("Loud.")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["Loud."]


@pytest.mark.parametrize("form", ["json", "console"])
def test_libraries_are_heard_without_what_they_were_sent(form: str) -> None:
    """Arguments of a library's message and texts of its exceptions could be a client's; they are left out."""
    stream = io.StringIO()
    log.configure("info", form, stream)
    try:
        int("hush")
    except ValueError:
        logging.getLogger("some.library").exception("Cannot read %s", "hush")
    assert "some.library" in stream.getvalue()
    assert "Cannot read %s" in stream.getvalue()
    assert "ValueError" in stream.getvalue()
    assert "hush" not in stream.getvalue()


def test_a_traceback_keeps_its_frames_and_not_its_values() -> None:
    """Where it happened is told; what was in the variables and in the exception is not."""
    stream = io.StringIO()
    logger = log.configure("info", "json", stream)
    body = "hush"
    with pytest.raises(ValueError, match=body) as caught:
        int(body)
    logger.error("A defect.", exc_info=caught.value)
    line = json.loads(stream.getvalue())
    assert line["exception"][0]["exc_type"] == "ValueError"
    assert line["exception"][0]["frames"][-1]["name"] == "test_a_traceback_keeps_its_frames_and_not_its_values"
    assert "hush" not in stream.getvalue()
