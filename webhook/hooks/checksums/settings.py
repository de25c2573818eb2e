"""What the operator has chosen about checksums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from webhook.hooks.checksums.core.facts import MissingPolicy, Rules
from webhook.hooks.checksums.core.optin import OperatorPolicy
from webhook.hooks.checksums.operator import OperatorFile


@dataclass(frozen=True, slots=True)
class ChecksumSettings:
    """Checked settings.

    Attributes:
        missing: What happens to a write that needs an object which does not exist.
        max_concurrent: How many workloads may roll at a time because of one object; 0 means no limit.
        operator: The operator's own list.
        key: Turns the checksums into HMACs; at least 16 bytes. Whoever is told to use one and cannot get it must not
            start: falling back to plain checksums would roll everything, and show what the key was to hide.
        read_seconds: How long one read may take, below the deadline of the request in any case.
    """

    missing: MissingPolicy = MissingPolicy.WARN
    max_concurrent: int = 0
    operator: OperatorPolicy = field(default_factory=OperatorPolicy)
    key: bytes | None = field(default=None, repr=False)
    read_seconds: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what could not be kept."""
        if self.key is not None and len(self.key) < 16:
            raise ValueError("the key of keyed checksums has to have at least 16 bytes")
        if self.max_concurrent < 0:
            raise ValueError("max_concurrent has to be 0 (no limit) or more")

    @property
    def rules(self) -> Rules:
        """The part that decisions are made by."""
        return Rules(self.missing, staged=self.max_concurrent > 0)


class LiveSettings:
    """The settings, with the operator's list as the settings file has it now.

    Args:
        fixed: What needs a restart to change.
        file: The list.
    """

    def __init__(self, fixed: ChecksumSettings, file: OperatorFile) -> None:
        self._file = file
        self._current = replace(fixed, operator=file.policy)

    def current(self) -> ChecksumSettings:
        """Return the settings that hold now."""
        if self._current.operator is not self._file.policy:
            self._current = replace(self._current, operator=self._file.policy)
        return self._current

    async def follow(self, changed: Callable[[], None] = lambda: None) -> None:
        """Look at the file now and then, until cancelled.

        Args:
            changed: Called after each change.
        """
        await self._file.follow(changed)
