"""Manifests: the contents of Secrets and ConfigMaps, and what is rejected."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.webhook.checksums.core.test_render import deployment
from webhook.checksums.core.manifests import ManifestError, manifests, parse
from webhook.checksums.core.render import Rendering


def contents(text: str) -> tuple[Any, Any]:
    """Return the contents of the single object of a text."""
    (manifest,) = manifests(parse(text)[1])
    return manifest.contents()


class TestContents:
    """The contents that the API server would return."""

    def test_string_data_overrides_data(self) -> None:
        """As the base64 of its UTF-8."""
        text = "kind: Secret\ndata: {a: eA==, b: eA==}\nstringData: {b: ä, c: ''}\n"
        b = base64.b64encode("ä".encode()).decode()
        assert contents(text) == ({"a": "eA==", "b": b, "c": ""}, None)

    def test_base64_is_encoded_again(self) -> None:
        """Authors break it into lines, which the API server does not keep."""
        text = "kind: Secret\ndata:\n  a: |\n    aHVu\n    dGVy\n"
        assert contents(text) == ({"a": "aHVudGVy"}, None)

    def test_a_config_map_has_text_and_binary_data(self) -> None:
        """Text is not changed; dates and a single `=` are text in Kubernetes."""
        text = "kind: ConfigMap\ndata: {a: 2024-01-01, b: =, c: , d: '1'}\nbinaryData: {e: eA==}\n"
        assert contents(text) == ({"a": "2024-01-01", "b": "=", "c": "", "d": "1"}, {"e": "eA=="})

    @pytest.mark.parametrize("field", ["data: {}", "data:", "x: y", "stringData: {}"])
    def test_empty_is_none(self, field: str) -> None:
        """The API server stores no empty map."""
        assert contents(f"kind: Secret\n{field}\n") == (None, None)
        assert contents(f"kind: ConfigMap\n{field}\n") == (None, None)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("kind: ConfigMap\nmetadata: {name: c}\ndata: {a: 1}", 'ConfigMap "c": data.a has to be a string'),
            ("kind: ConfigMap\nmetadata: {name: c}\ndata: {a: yes}", 'ConfigMap "c": data.a has to be a string'),
            ("kind: Secret\nmetadata: {name: s}\ndata: {a: hunter2!}", 'Secret "s": data.a is not base64'),
            ("kind: Secret\nmetadata: {name: s}\ndata: [hunter2]", 'Secret "s": data has to be a map'),
        ],
    )
    def test_values_that_the_api_server_rejects_are_rejected(self, text: str, message: str) -> None:
        """The message has the object's name and the field, but not the value."""
        with pytest.raises(ManifestError, match=message) as caught:
            contents(text)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b\n---\na: [hunter2\n", "line 4, column 1"),
        ("a: b\n---\n\na: !hunter2 x\n", "line 4, column 4"),
        ("\x00", "not YAML"),
        ("a: *hunter2\n", "line 1, column 4"),
        ("{[]: x}\n", "line 1, column 2"),
        (
            deployment("  template: {spec: {containers: hunter2}}\n"),
            'Deployment "shop": The pod template cannot be read',
        ),
        (deployment("  template:\n  paused: hunter2\n"), 'Deployment "shop": Expected `bool'),
    ],
)
def test_invalid_manifests_are_rejected(text: str, message: str) -> None:
    """The message names the line or the field, and quotes nothing that may be secret."""
    with pytest.raises(ManifestError, match=message.replace("[", r"\[")) as caught:
        Rendering(text)
    assert "hunter2" not in str(caught.value)
