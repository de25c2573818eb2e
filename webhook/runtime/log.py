"""Structured logging: one JSON object per line on standard error, or coloured lines for a terminal.

An event is constant text; everything that varies is a field. Request bodies, patches and Secret data are never logged.
Records of libraries are reduced to one line without a traceback, because their text can contain what a client sent.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from pathlib import Path
from typing import Final, TextIO, TypeAlias

import structlog

Logger: TypeAlias = structlog.typing.FilteringBoundLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

#: A conversion of a message template, such as `%s` or `%-5.2f`.
_CONVERSION: Final = re.compile(r"%(?:\([^)]*\))?[-#0 +]*[0-9]*(?:\.[0-9]+)?[a-zA-Z%]")
#: How many callers `origin_of` shows.
_FRAMES: Final = 6


class LibraryHandler(logging.Handler):
    """Forward log records of libraries: logger name, message template and exception type only.

    Args:
        logger: The logger to forward to.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record of a library."""
        error = record.exc_info[0] if record.exc_info else None
        self._logger.warning(
            "library warning",
            library=record.name,
            # The template, not the formatted message: its arguments could be what a client sent.
            problem=_CONVERSION.sub(_placeholder, str(record.msg)),
            error=error.__name__ if error else None,
        )


def _placeholder(conversion: re.Match[str]) -> str:
    return "%" if conversion[0].endswith("%") else "…"


class ChangeLogger:
    """Log a repeated message once, and again only when it changes.

    Args:
        log: The logger to write to.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._last: tuple[str, str] | None = None
        self._failing = False

    def failed(self, event: str, problem: str) -> None:
        """Log a warning, unless the same problem was logged last.

        Args:
            event: Constant text.
            problem: The part that varies.
        """
        self._failing = True
        if self._is_new(event, problem):
            self._log.warning(event, problem=problem)

    def recovered(self, event: str) -> None:
        """Log the end of a problem; does nothing if none was logged."""
        if self._failing:
            self.reset()
            self._log.info(event)

    def changed(self, event: str, detail: str = "") -> None:
        """Log information, unless the same was logged last."""
        if self._is_new(event, detail):
            self._log.info(event, detail=detail)

    def reset(self) -> None:
        """Forget what was logged, so that the next message is logged in any case."""
        self._last, self._failing = None, False

    def _is_new(self, event: str, detail: str) -> bool:
        is_new = (event, detail) != self._last
        self._last = event, detail
        return is_new


def configure(level: str, form: str, stream: TextIO | None = None) -> Logger:
    """Set up logging for the process.

    Args:
        level: One of `LEVELS`.
        form: `json` for programs, `console` for people.
        stream: The output; standard error by default, because standard output is for results.

    Returns:
        The root logger.
    """
    output = stream or sys.stderr
    renderers: list[structlog.typing.Processor]
    if form == "console":
        renderers = [
            structlog.dev.ConsoleRenderer(colors=output.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    else:
        # Without local variables: they can hold request bodies.
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


def origin_of(error: BaseException) -> str:
    """Return where an exception was raised, and the callers, in one line and without any value."""
    return describe_frames(traceback.extract_tb(error.__traceback__))


def describe_frames(frames: traceback.StackSummary) -> str:
    """Return the innermost frames of a stack in one line, the innermost first."""
    inner = frames[-_FRAMES:][::-1]
    return " < ".join(f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}" for frame in inner)


def _drop_exception_texts(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Keep the types and frames of an exception but not its text, which can repeat what a client sent."""
    for stack in event.get("exception") or ():
        stack["exc_value"] = ""
    return event
