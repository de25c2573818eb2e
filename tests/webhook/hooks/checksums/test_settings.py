"""What the operator has chosen."""

import pytest

from webhook.hooks.checksums import ChecksumSettings
from webhook.hooks.checksums.core.facts import MissingPolicy, Rules


def test_the_defaults_are_harmless() -> None:
    """Warn, all at once, no list, no key."""
    assert ChecksumSettings().rules == Rules(MissingPolicy.WARN, staged=False)
    assert not ChecksumSettings().operator.enabled


def test_a_limit_means_staged() -> None:
    """Then a label cannot jump the queue."""
    assert ChecksumSettings(max_concurrent=1).rules.staged


def test_what_could_not_be_kept_is_refused() -> None:
    """A key that can be guessed, and a limit below zero."""
    with pytest.raises(ValueError, match="at least 16 bytes"):
        ChecksumSettings(key=b"short")
    with pytest.raises(ValueError, match="0 \\(no limit\\) or more"):
        ChecksumSettings(max_concurrent=-1)


def test_the_key_is_not_shown() -> None:
    """Settings are logged by people who look for other things."""
    assert "sesame" not in repr(ChecksumSettings(key=b"sesame-sesame-sesame"))
