"""The feature as a whole: what it imports, and its options on the command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"kubernetes", "redis", "aiohttp"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("webhook.checksums.core.render", {*HEAVY, "asyncio", "structlog", "prometheus_client"}),
        ("webhook.checksums.render_command", HEAVY),
        ("webhook.checksums.feature", HEAVY),
    ],
)
def test_imports_are_light(module: str, unwanted: set[str]) -> None:
    """The rules do no input or output; rendering without a cluster needs no client."""
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert unwanted.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("options", "namespace"),
    [((), "default"), (("-n", "prod"), "prod"), (("-n", "prod", "--namespace", "own"), "prod")],
)
def test_the_namespace_of_manifests(options: tuple[str, ...], namespace: str) -> None:
    """It is given by `-n`; `--namespace` is the setting for the namespace of the installation."""
    text = (
        "apiVersion: apps/v1\nkind: Deployment\n"
        "metadata: {name: web, annotations: {rollout-checksums.proompteng.ai/secrets: db}}\n"
    )
    argv = [sys.executable, "-m", "webhook", "render", *options]
    ended = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, text)
    assert ended.stderr == f"rollonce: {namespace}/deployment/web: secret/db is not among the manifests.\n"
