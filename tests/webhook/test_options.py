"""The settings of all features: their names, and the values that they reject."""

from __future__ import annotations

import pytest

from webhook.app import Application
from webhook.errors import ConfigurationError
from webhook.features import FEATURES

APPLICATION = Application(FEATURES)


def test_several_capitals_in_a_row_are_one_word() -> None:
    """`tls.clientCA` becomes `--tls-client-ca` and `ROLLONCE_TLS_CLIENT_CA`."""
    settings = {setting.name: setting for setting in APPLICATION.catalogue.settings}
    assert settings["tls.clientCA"].flag == "--tls-client-ca"
    assert settings["tls.clientCA"].variables == ("ROLLONCE_TLS_CLIENT_CA",)
    assert settings["tls.caLifetime"].flag == "--tls-ca-lifetime"


def test_one_settings_file_is_valid_for_both_programs() -> None:
    """A file can contain every setting of both programs, and each setting exists once."""
    names = [setting.name for setting in APPLICATION.catalogue.settings]
    assert len(names) == len(set(names))
    both = (*APPLICATION.server_settings, *APPLICATION.controller_settings)
    assert set(names) >= {setting.name for setting in both}


@pytest.mark.parametrize(
    ("flag", "text", "message"),
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
def test_a_wrong_value_is_rejected(flag: str, text: str, message: str) -> None:
    """The error message says which values are allowed."""
    with pytest.raises(ConfigurationError, match=message):
        APPLICATION.catalogue.resolve({flag: text}, config=None, environ={})
