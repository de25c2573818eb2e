"""The feature as a whole: what it imports, and its options on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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
    assert ended.stderr.startswith(f"rollonce: {namespace}/deployment/web: secret/db is not among the manifests. ")


LISTED = """\
apiVersion: v1
kind: Secret
metadata: {name: db}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shöp}
spec: {template: {spec: {containers: [{envFrom: [{secretRef: {name: db}}, {configMapRef: {name: app}}]}]}}}
"""
DB, APP = '"checksum/secret.db": "', f'"checksum/configmap.app": "{"a" * 64}"'


def render(text: str, settings: object, folder: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Run `rollonce render` without a cluster."""
    path = folder / "settings.yaml"
    path.write_text(json.dumps({"rolloutChecksums": settings}))
    argv = [sys.executable, "-m", "webhook", "render", f"--config={path}", *options]
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"} | {"LC_ALL": "POSIX"}
    return subprocess.run(argv, input=text.encode(), capture_output=True, env=environment, check=False)


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_the_operators_list_needs_no_cluster(tmp_path: Path, line_break: str) -> None:
    """What is among the manifests or provided is used, and no byte changes otherwise."""
    listed = {"enabled": True, "secrets": ["db"], "configMaps": [{"name": "app", "checksum": "a" * 64}]}
    text = LISTED.replace("\n", line_break)
    ended = render(text, listed, tmp_path)
    assert (ended.returncode, ended.stderr) == (0, b"")
    lines = ended.stdout.decode().split(line_break)
    assert [line for line in lines if DB in line and APP in line] == [lines[-2]]
    assert lines[:-2] == text.split(line_break)[:-2]
    incomplete = render(text, listed | {"configMaps": ["app"]}, tmp_path)
    assert incomplete.returncode == 1
    assert b"configmap/app is not among the manifests. Add it to them, read it by --from-cluster" in incomplete.stderr


@pytest.mark.parametrize(
    ("options", "namespaces", "applies"),
    [
        (("-n", "shop"), [], True),
        (("-n", "shop", "--namespace", "rollonce"), [], False),
        (("-n", "shop", "--namespace", "rollonce"), ["shop"], True),
        ((), ["shop"], False),
    ],
)
def test_where_the_operators_list_applies(
    tmp_path: Path, options: tuple[str, ...], namespaces: list[str], *, applies: bool
) -> None:
    """Without namespaces of its own: in that of rollonce, and if that is not given, in that of the manifests."""
    listed = {"enabled": True, "secrets": ["db"], "namespaces": namespaces}
    ended = render(LISTED, listed, tmp_path, *options)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert (DB.encode() in ended.stdout) is applies


def test_the_key_can_be_given_by_a_file(tmp_path: Path) -> None:
    """Where the programs read it from a Secret."""
    settings = {"enabled": True, "secrets": ["db"], "keySecret": "rollonce/key"}
    refused = render(LISTED, settings, tmp_path)
    assert refused.returncode == 2
    assert b"--from-cluster; or give the key by --rollout-checksums-key-file" in refused.stderr
    (tmp_path / "key").write_bytes(b"0123456789abcdef")
    ended = render(LISTED, settings, tmp_path, f"--rollout-checksums-key-file={tmp_path / 'key'}")
    assert (ended.returncode, DB.encode() in ended.stdout) == (0, True)
