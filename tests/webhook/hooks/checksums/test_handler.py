"""The webhook for workloads, against a real API server."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import time
from pathlib import Path

import jq
import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.controlplane import ControlPlane
from tests.controlplane.ports import free_ports
from tests.webhook.hooks.checksums.conftest import Connect, checksum_hooks, deployments, kubeconfig_of
from tests.webhook.hooks.checksums.manifests import Json, manifest
from tests.webhook.hooks.checksums.reviews import ask, review
from webhook.admission.deadline import Deadline
from webhook.clients.api import KubernetesApi
from webhook.errors import MalformedReviewError
from webhook.hooks.checksums import ChecksumMetrics, ChecksumSettings, hooks
from webhook.hooks.checksums.core.facts import MissingPolicy
from webhook.hooks.checksums.core.keys import CONFIG_MAPS, HELD, SECRETS, Source, SourceKind
from webhook.hooks.checksums.core.optin import OperatorPolicy

KEY = "checksum/secret.db"
DB = Source(SourceKind.SECRET, "db")
PASSWORD = "hunter2-ä\x7f"


def by_hand(plane: ControlPlane, kind: str, name: str, namespace: str) -> str:
    """The checksum as the documentation tells how to make it, by the real kubectl and the real jq."""
    printed = plane.kubectl("get", kind, name, f"--namespace={namespace}", "-o", "json").stdout
    line: str = jq.compile("{binaryData, data} | tojson").input_text(printed).first()
    return hashlib.sha256(line.encode() + b"\n").hexdigest()


def make_secret(plane: ControlPlane, namespace: str, password: str = PASSWORD) -> None:
    """Create or change the Secret `db`."""
    plane.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": password}},
        namespace=namespace,
    )


async def test_the_checksums_are_those_made_by_hand(plane: ControlPlane, namespace: str, api: KubernetesApi) -> None:
    """Of a Secret and of a ConfigMap with text of every kind and binary data."""
    make_secret(plane, namespace)
    plane.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "app"},
            "data": {"text": '<a> & \u2028 \x00 \x7f 日本 \U0001f600 "\\'},
            "binaryData": {"blob": "/////w=="},
        },
        namespace=namespace,
    )
    answered = await ask(
        deployments(api), manifest(annotations={SECRETS: "db", CONFIG_MAPS: "app"}), namespace=namespace
    )
    assert answered.checksums == {
        KEY: by_hand(plane, "secret", "db", namespace),
        "checksum/configmap.app": by_hand(plane, "configmap", "app", namespace),
    }


async def test_an_object_without_contents(plane: ControlPlane, namespace: str, api: KubernetesApi) -> None:
    """It has a checksum as well, the one that jq's two nulls give."""
    plane.kubectl("create", "secret", "generic", "db", f"--namespace={namespace}")
    answered = await ask(deployments(api), manifest(annotations={SECRETS: "db"}), namespace=namespace)
    assert answered.checksums == {KEY: by_hand(plane, "secret", "db", namespace)}


async def test_current_means_current(plane: ControlPlane, namespace: str, api: KubernetesApi) -> None:
    """Right after a change the new contents count, and changed metadata does not."""
    hook = deployments(api)
    new = manifest(annotations={SECRETS: "db"})
    seen = set()
    for password in ("one", "two"):
        make_secret(plane, namespace, password)
        seen.add((await ask(hook, new, namespace=namespace)).checksums[KEY])
    plane.kubectl("label", "secret", "db", "a=b", f"--namespace={namespace}")
    seen.add((await ask(hook, new, namespace=namespace)).checksums[KEY])
    assert len(seen) == 2


@pytest.mark.parametrize(("index", "kind"), list(enumerate(["Deployment", "StatefulSet", "DaemonSet"])))
async def test_all_kinds_are_served_alike(
    plane: ControlPlane, namespace: str, api: KubernetesApi, index: int, kind: str
) -> None:
    """One path for each, the same answer."""
    make_secret(plane, namespace)
    hook = checksum_hooks(api)[index]
    assert hook.path == f"/mutate/{kind.lower()}s"
    answered = await ask(hook, manifest(annotations={SECRETS: "db"}), namespace=namespace, kind=kind)
    assert answered.checksums == {KEY: by_hand(plane, "secret", "db", namespace)}


async def test_no_patch_when_nothing_changes(plane: ControlPlane, namespace: str, api: KubernetesApi) -> None:
    """What the webhook made needs no second patch."""
    make_secret(plane, namespace)
    once = await ask(deployments(api), manifest(annotations={SECRETS: "db"}), namespace=namespace)
    twice = await ask(deployments(api), once.object, once.object, namespace=namespace)
    assert once.patched
    assert not twice.patched


async def test_a_missing_object_by_policy(namespace: str, api: KubernetesApi) -> None:
    """Warned of, refused, or waited for."""
    new = manifest(annotations={SECRETS: "db"})
    warned = await ask(deployments(api), new, namespace=namespace)
    assert (warned.allowed, warned.patched, len(warned.warnings)) == (True, False, 1)
    refused = await ask(deployments(api, ChecksumSettings(missing=MissingPolicy.DENY)), new, namespace=namespace)
    assert (refused.allowed, refused.status and refused.status["code"]) == (False, 403)
    held = await ask(deployments(api, ChecksumSettings(missing=MissingPolicy.HOLD)), new, namespace=namespace)
    assert held.object["spec"]["paused"] is True
    assert held.object["metadata"]["annotations"][HELD] == "waiting for secret/db"
    released = await ask(deployments(api), held.object, held.object, namespace=namespace)
    assert "paused" not in released.object["spec"]


async def test_what_may_not_be_read_is_not_missing(plane: ControlPlane, namespace: str, connect: Connect) -> None:
    """A ServiceAccount without the right: a create is admitted even under `deny`, an update keeps what is stored."""
    make_secret(plane, namespace)
    stranger = await connect(plane.kubeconfig_for("default", namespace))
    hook = deployments(stranger, ChecksumSettings(missing=MissingPolicy.DENY))
    new = manifest(annotations={SECRETS: "db"})
    created = await ask(hook, new, namespace=namespace)
    assert (created.allowed, created.patched) == (True, False)
    assert created.warnings == [
        'Secret "db" could not be read (HTTP 403). Its checksum is missing until it can be read.'
    ]
    old = manifest(
        annotations={SECRETS: "db", "rollout-checksums.proompteng.ai/managed": KEY},
        template_annotations={KEY: "a" * 64},
    )
    assert (await ask(hook, new, old, namespace=namespace)).checksums == {KEY: "a" * 64}


async def test_an_api_server_that_does_not_answer(connect: Connect, tmp_path: Path) -> None:
    """The webhook answers within the deadline all the same: what could not be read is not missing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connections are made, and nobody ever reads
        port = silent.getsockname()[1]
        hook = deployments(await connect(kubeconfig_of(port, tmp_path)), ChecksumSettings(missing=MissingPolicy.DENY))
        answered = await ask(hook, manifest(annotations={SECRETS: "db"}), namespace="prod", seconds=0.3)
    assert answered.allowed
    assert "could not be read (no answer" in answered.warnings[0]


async def test_an_api_server_that_is_not_there(connect: Connect, tmp_path: Path) -> None:
    """Nor is what nobody could be asked about."""
    (port,) = free_ports(1)
    hook = deployments(await connect(kubeconfig_of(port, tmp_path)), ChecksumSettings(missing=MissingPolicy.DENY))
    answered = await ask(hook, manifest(annotations={SECRETS: "db"}), namespace="prod")
    assert answered.allowed
    assert "could not be read (no answer)" in answered.warnings[0]


async def test_the_operators_list_changes_without_a_restart(
    plane: ControlPlane, namespace: str, api: KubernetesApi
) -> None:
    """The settings are asked for at each request."""
    make_secret(plane, namespace)
    current = ChecksumSettings()
    hook, *_ = hooks(
        lambda: current,
        api,
        clock=time.monotonic,
        log=structlog.get_logger(),
        metrics=ChecksumMetrics(CollectorRegistry()),
    )
    new = manifest(pod_spec={"containers": [{"envFrom": [{"secretRef": {"name": "db"}}]}]})
    assert not (await ask(hook, new, namespace=namespace)).patched
    current = ChecksumSettings(operator=OperatorPolicy(True, frozenset({namespace}), {DB: None}))
    assert (await ask(hook, new, namespace=namespace)).checksums == {KEY: by_hand(plane, "secret", "db", namespace)}


async def test_keyed(plane: ControlPlane, namespace: str, api: KubernetesApi) -> None:
    """With a key the checksum is another one, and stable."""
    make_secret(plane, namespace)
    new = manifest(annotations={SECRETS: "db"})
    settings = ChecksumSettings(key=b"k" * 32)
    first = await ask(deployments(api, settings), new, namespace=namespace)
    second = await ask(deployments(api, settings), new, namespace=namespace)
    assert first.checksums == second.checksums
    assert first.checksums[KEY] != by_hand(plane, "secret", "db", namespace)


async def test_overlapping_requests_share_reads(plane: ControlPlane, namespace: str, api: KubernetesApi) -> None:
    """A hundred Deployments that depend on one Secret do not cost a hundred reads."""
    make_secret(plane, namespace)
    registry = CollectorRegistry()
    hook, *_ = hooks(
        ChecksumSettings(), api, clock=time.monotonic, log=structlog.get_logger(), metrics=ChecksumMetrics(registry)
    )
    new = manifest(annotations={SECRETS: "db"})
    answers = await asyncio.gather(*(ask(hook, new, namespace=namespace) for _ in range(100)))
    assert {answer.checksums[KEY] for answer in answers} == {by_hand(plane, "secret", "db", namespace)}
    reads = registry.get_sample_value("rollonce_checksum_reads_total", {"kind": "secret", "outcome": "found"})
    assert reads is not None
    assert reads < 10


async def test_nothing_secret_is_told(plane: ControlPlane, namespace: str, api: KubernetesApi) -> None:
    """Neither the contents nor the checksum are in the log, in a warning or in a metric; contents in no patch."""
    make_secret(plane, namespace, "hunter2")
    registry = CollectorRegistry()
    with structlog.testing.capture_logs() as lines:
        hook, *_ = hooks(
            ChecksumSettings(key=b"sesame-sesame-sesame"),
            api,
            clock=time.monotonic,
            log=structlog.get_logger(),
            metrics=ChecksumMetrics(registry),
        )
        new = manifest(annotations={SECRETS: "db, gone, Wrong"})
        answer = await hook.answer(review(new, namespace=namespace), Deadline.after(10, time.monotonic))
    told = json.dumps(lines) + str([metric.samples for metric in registry.collect()])
    (line,) = lines
    assert (line["outcome"], line["changed"], line["missing"]) == ("patched", ["secret/db"], ["secret/gone"])
    checksum = (await ask(hook, new, namespace=namespace)).checksums[KEY]
    for secret in ("hunter2", "aHVudGVyMg", "sesame"):
        assert secret not in told + answer.body.decode() + repr(ChecksumSettings(key=b"sesame-sesame-sesame"))
    assert checksum not in told


async def test_other_operations_are_let_through(api: KubernetesApi) -> None:
    """A delete has nothing to be annotated."""
    hook = deployments(api)
    body = review(None, manifest(), namespace="prod", operation="DELETE")
    assert (await hook.answer(body, Deadline.after(5, time.monotonic))).outcome == "allowed"


@pytest.mark.parametrize(("new", "operation"), [(None, "CREATE"), (manifest(), "UPDATE")])
async def test_a_review_without_its_objects_is_malformed(api: KubernetesApi, new: Json | None, operation: str) -> None:
    """The message says what is missing."""
    body = review(new, namespace="prod", operation=operation)
    with pytest.raises(MalformedReviewError, match=f"review of an {operation} has to bring its objects"):
        await deployments(api).answer(body, Deadline.after(5, time.monotonic))
