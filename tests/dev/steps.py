"""The steps of the demonstration: commands, and checks of their results; the README shows the same commands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.controlplane.commands import Result

_HEX: Final = re.compile(r"[0-9a-f]{64}")
_CHECKSUMS: Final = ("checksum/secret.database", "checksum/configmap.settings")


@dataclass(frozen=True, slots=True)
class Step:
    """One command.

    Attributes:
        title: What the command shows.
        command: The command, as it is typed in the root of the repository.
        problem: Returns what is wrong with the result, or an empty text.
    """

    title: str
    command: str
    problem: Callable[[Result], str]


def succeeds(result: Result) -> str:
    """Return a problem unless the exit code is 0."""
    return "" if result.returncode == 0 else f"it ended with exit code {result.returncode}"


def has_checksums(result: Result) -> str:
    """Return a problem unless there are two checksums of 64 hex digits each."""
    if problem := succeeds(result):
        return problem
    annotations = json.loads(result.stdout or "{}")
    missing = [key for key in _CHECKSUMS if not _HEX.fullmatch(annotations.get(key, ""))]
    return f"missing: {', '.join(missing)}" if missing else ""


def is_refused(result: Result) -> str:
    """Return a problem unless the command was refused with the name of the existing run."""
    if result.returncode == 0:
        return "it was not refused"
    expected = ("AlreadyExists", "build-", "idempotent")
    missing = [word for word in expected if word not in result.stderr]
    return f"the refusal does not contain {' and '.join(missing)}" if missing else ""


def lists_one_run(result: Result) -> str:
    """Return a problem unless one run with its label is listed."""
    if problem := succeeds(result):
        return problem
    rows = [line for line in result.stdout.splitlines() if "jangar.proompteng.ai/delivery-id=" in line]
    return "" if len(rows) == 1 else f"there are {len(rows)} runs instead of one"


STEPS: Final = (
    Step(
        "Create a Secret, a ConfigMap, and a Deployment that names both",
        "kubectl apply -f deploy/examples/shop.yaml",
        succeeds,
    ),
    Step(
        "The pod template has a checksum of each",
        "kubectl get deployment web -n shop -o jsonpath='{.spec.template.metadata.annotations}'",
        has_checksums,
    ),
    Step(
        "Change only the Secret",
        'kubectl patch secret database -n shop -p \'{"stringData":{"password":"battery-staple"}}\'',
        succeeds,
    ),
    Step(
        "The controller rolls the Deployment",
        "kubectl wait deployment/web -n shop --timeout=60s "
        "--for=jsonpath='{.metadata.annotations.deployment\\.kubernetes\\.io/revision}'=2",
        succeeds,
    ),
    Step("Create a run for a delivery", "kubectl create -f deploy/examples/run.yaml", succeeds),
    Step(
        "Create a run for the same delivery again: it is refused",
        "kubectl create -f deploy/examples/run.yaml",
        is_refused,
    ),
    Step(
        "There is one run, found by the label of its delivery",
        "kubectl get orchestrationrun -n shop -l jangar.proompteng.ai/delivery-id --show-labels",
        lists_one_run,
    ),
)
