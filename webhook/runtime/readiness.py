"""Readiness as a set of conditions: the program is ready once each of them has been met once.

A condition that was met stays met: an outage of Redis or of the API server must not take every replica out of the
Service at the same time. Only what cannot be wrong with all replicas at once makes one unready later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from webhook.errors import DependencyError
from webhook.runtime.clock import Retry


class Readiness:
    """What the program still waits for before it is ready."""

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}
        self._own_faults: list[Callable[[], str]] = []
        self._draining = False

    def wait_for(self, name: str) -> ReadinessHandle:
        """Be unready until the returned handle is released.

        Args:
            name: Shown by `/readyz` while it is waited for.
        """
        self._waiting[name] = "not seen yet"
        return ReadinessHandle(self, name)

    def watch_for(self, fault: Callable[[], str]) -> None:
        """Be unready whenever this replica has a fault that others do not have.

        Args:
            fault: Returns what is wrong, or an empty string.
        """
        self._own_faults.append(fault)

    def start_draining(self) -> None:
        """Be unready from now on."""
        self._draining = True

    @property
    def ready(self) -> bool:
        """Whether the program should receive new connections."""
        return not self.reasons()

    def reasons(self) -> tuple[str, ...]:
        """Return why the program is not ready; empty when it is."""
        draining = ("draining: this replica is about to stop",) if self._draining else ()
        waiting = tuple(f"{name}: {state}" for name, state in self._waiting.items())
        return draining + waiting + tuple(filter(None, (fault() for fault in self._own_faults)))

    def waits_for(self, name: str) -> bool:
        """Return whether a condition has not been met yet."""
        return name in self._waiting

    def note(self, name: str, state: str) -> None:
        """Describe the state of a condition; does nothing once it was met."""
        if name in self._waiting:
            self._waiting[name] = state

    def release(self, name: str) -> None:
        """Stop waiting for a condition."""
        self._waiting.pop(name, None)


class ReadinessHandle:
    """One condition of readiness.

    Args:
        readiness: The set that it belongs to.
        name: Its name there.
    """

    def __init__(self, readiness: Readiness, name: str) -> None:
        self._readiness = readiness
        self._name = name

    @property
    def released(self) -> bool:
        """Whether the condition was met."""
        return not self._readiness.waits_for(self._name)

    def release(self) -> None:
        """Mark the condition as met, for good."""
        self._readiness.release(self._name)

    def note(self, state: str) -> None:
        """Describe why the condition is not met yet."""
        self._readiness.note(self._name, state)


async def release_when(handle: ReadinessHandle, check: Callable[[], Awaitable[str]], retry: Retry) -> None:
    """Repeat a check until it passes, then release the handle.

    Args:
        handle: The condition.
        check: Returns what is wrong, or an empty string; it may raise `DependencyError` instead.
        retry: Waits between two checks.
    """
    while problem := await _result(check):
        handle.note(problem)
        await retry.wait()
    handle.release()


async def _result(check: Callable[[], Awaitable[str]]) -> str:
    try:
        return await check()
    except DependencyError as error:
        return str(error)
