"""`rollonce webhooks --delete`: what the hook of an uninstallation runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.rollonce import ROOT, command

pytestmark = pytest.mark.cluster


def delete(kubeconfig: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command; return its exit code and what it has written."""
    argv = [sys.executable, "-m", "webhook", "webhooks", "--delete", f"--kubeconfig={kubeconfig}", *arguments]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_only_the_named_configurations_are_deleted(plane: ControlPlane) -> None:
    """Both kinds are deleted, others stay, and what does not exist is no failure."""
    names = ("to-delete", "to-stay")
    for name in names:
        plane.apply(command("webhooks", "--url=https://127.0.0.1:1", f"--name={name}"))
    kinds = ("mutatingwebhookconfiguration", "validatingwebhookconfiguration")
    code, output, _ = delete(plane.kubeconfig, "--name=to-delete")
    assert (code, output.splitlines()) == (
        0,
        [f"{kind}WebhookConfiguration to-delete is deleted." for kind in ("Mutating", "Validating")],
    )
    left = plane.kubectl("get", ",".join(kinds), "-o", "name").stdout
    assert "to-delete" not in left
    assert left.count("to-stay") == 2
    assert delete(plane.kubeconfig, "--name=to-delete") == (0, "", "")
    plane.kubectl("delete", ",".join(kinds), "to-stay")


def test_without_the_right_the_message_names_it(plane: ControlPlane, namespace: str) -> None:
    """An account without rights gets one line and exit code 1."""
    code, _, message = delete(plane.kubeconfig_for("default", namespace), "--name=rollonce")
    assert code == 1
    # Both are deleted at the same time; either refusal can be the first.
    assert re.match(
        r"rollonce: error: There is no right to delete (Mut|Valid)atingWebhookConfiguration rollonce", message
    )


def test_check_and_delete_contradict_each_other(plane: ControlPlane) -> None:
    """Both together are an error of the command line."""
    assert delete(plane.kubeconfig, "--check")[0] == 2
