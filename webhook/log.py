"""Structured logging: one JSON object a line on standard error, or coloured lines for people.

The message of a line is constant text; what varies is in its fields. Nothing here ever gets a body, a patch or a
Secret's contents, and the libraries' own loggers are cut down to a line without a traceback, since theirs could hold
bytes that a client sent.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO, TypeAlias

import structlog

Logger: TypeAlias = structlog.typing.FilteringBoundLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class LibraryHandler(logging.Handler):
    """Passes on what libraries log: the logger, the text, and the type of the exception, but not the exception."""

    def __init__(self, logger: Logger) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record of a library."""
        error = record.exc_info[0] if record.exc_info else None
        self._logger.warning(
            "A library reports a problem.",
            library=record.name,
            # The template, not the formatted message: its arguments could be what a client sent.
            problem=str(record.msg),
            error=error.__name__ if error else None,
        )


def configure(level: str, form: str, stream: TextIO | None = None) -> Logger:
    """Set up logging for the process.

    Args:
        level: One of `LEVELS`.
        form: `json` for programs, `console` for people.
        stream: Where to; standard error by default, since standard output belongs to results.

    Returns:
        The root logger, to be handed to whoever logs.
    """
    output = stream or sys.stderr
    renderers: list[structlog.typing.Processor]
    if form == "console":
        renderers = [
            structlog.dev.ConsoleRenderer(colors=output.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    else:
        # Without local variables: they hold bodies.
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        renderers = [
            structlog.processors.ExceptionRenderer(tracebacks),
            _drop_exception_texts,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=True,
    )
    logger: Logger = structlog.get_logger()
    logging.root.handlers[:] = [LibraryHandler(logger)]
    logging.root.setLevel(logging.WARNING)
    return logger


def _drop_exception_texts(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Keep the types and frames of an exception, not its text, which may repeat what somebody sent."""
    for stack in event.get("exception") or ():
        stack["exc_value"] = ""
    return event
