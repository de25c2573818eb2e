"""Checked settings."""

import pytest

from webhook.checksums.core.inputs import MissingPolicy, Rules
from webhook.checksums.settings import ChecksumSettings


def test_the_defaults_change_nothing() -> None:
    """Warnings only, no limit, no list, no key."""
    assert ChecksumSettings().rules == Rules(MissingPolicy.WARN, staged=False)
    assert not ChecksumSettings().policy.enabled


def test_a_limit_means_staged() -> None:
    """Then a write about something else cannot start a rollout before its turn."""
    assert ChecksumSettings(max_concurrent=1).rules.staged


def test_values_that_cannot_work_are_rejected() -> None:
    """A key that can be guessed, and a negative limit."""
    with pytest.raises(ValueError, match="at least 16 bytes"):
        ChecksumSettings(key=b"short")
    with pytest.raises(ValueError, match="0 \\(no limit\\) or more"):
        ChecksumSettings(max_concurrent=-1)


def test_the_key_is_not_in_the_repr() -> None:
    """Settings can end up in a log."""
    assert "sesame" not in repr(ChecksumSettings(key=b"sesame-sesame-sesame"))
