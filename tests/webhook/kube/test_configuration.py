"""What a kubeconfig says besides how to reach the API server."""

from __future__ import annotations

import json
from pathlib import Path

from webhook.kube.configuration import default_namespace


def test_the_namespace_of_requests_is_that_of_the_context(tmp_path: Path) -> None:
    """Of the current context or of the one that is named; `default` if it has none."""
    contexts = {"one": {"namespace": "shop"}, "two": {"namespace": "lab"}, "three": {}}
    file = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "contexts": [
            {"name": name, "context": {"cluster": "c", "user": "u", **context}} for name, context in contexts.items()
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://h"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    file.write_text(json.dumps(config))
    found = [default_namespace(str(file), context) for context in ("", "one", "two", "three")]
    assert found == ["shop", "shop", "lab", "default"]
