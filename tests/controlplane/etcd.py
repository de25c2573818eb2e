"""Requests of tests to etcd, through its JSON gateway: https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

_SECONDS = 30.0
_ANY_KEY = "AA=="


def compact(url: str) -> int:
    """Delete every revision but the current one, and return the current one."""
    revision = int(_call(url, "kv/range", {"key": _ANY_KEY, "limit": 1})["header"]["revision"])
    _call(url, "kv/compaction", {"revision": revision, "physical": True})
    return revision


def _call(url: str, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - the URL is on loopback
        f"{url}/v3/{method}", data=json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310 - as above
        answer: dict[str, Any] = json.load(response)
    return answer
