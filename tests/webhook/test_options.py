"""The settings themselves: their names, and what they refuse."""

from __future__ import annotations

import pytest

from webhook import options
from webhook.errors import ConfigurationError


def test_a_run_of_capitals_is_one_word() -> None:
    """The flag and the variable read as people would write them."""
    assert options.TLS_CLIENT_CA.flag == "--tls-client-ca"
    assert options.TLS_CLIENT_CA.variables == ("ROLLONCE_TLS_CLIENT_CA",)
    assert options.TLS_CA_LIFETIME.flag == "--tls-ca-lifetime"


def test_every_program_s_settings_are_known_to_one_file() -> None:
    """Each once, so that one file serves both programs."""
    names = [setting.name for setting in options.ALL]
    assert len(names) == len(set(names))
    assert set(names) >= {setting.name for setting in (*options.SERVE, *options.CONTROLLER)}


@pytest.mark.parametrize(
    ("flag", "text", "said"),
    [
        ("namespace", "Not_One", "lower case letters"),
        ("service", "", "give a name of lower case letters"),
        ("service", "a,b", "lower case letters"),
        ("webhooks_url", "http://x:1", "give https://host:port"),
        ("webhooks_url", "https://x/path", "without a path"),
        ("webhooks_url", "https://", "give https://host:port"),
        ("tls_mode", "magic", "give one of auto, self-managed, files, secret"),
        ("tls_leaf_lifetime", "0s", "from 2s"),
    ],
)
def test_what_is_no_value_is_refused(flag: str, text: str, said: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigurationError, match=said):
        options.resolve({flag: text}, config=None, environ={})
