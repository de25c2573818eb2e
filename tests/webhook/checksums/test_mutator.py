"""The webhooks for workloads, with a real API server."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from pathlib import Path

import jq
import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.controlplane import ControlPlane
from tests.controlplane.ports import free_ports
from tests.webhook.checksums.conftest import Connect, kubeconfig_of
from tests.webhook.checksums.manifests import Json, manifest
from tests.webhook.checksums.reviews import ask, checksum_endpoints, deployments, review
from webhook.checksums.core.inputs import MissingPolicy
from webhook.checksums.core.keys import CONFIG_MAPS, HELD, SECRETS, Source, SourceKind
from webhook.checksums.core.kinds import KINDS, WorkloadKind
from webhook.checksums.core.optin import OperatorPolicy
from webhook.checksums.settings import ChecksumSettings
from webhook.errors import MalformedReviewError
from webhook.kube.api import KubernetesApi
from webhook.runtime.clock import Clock

KEY = "checksum/secret.db"
DB = Source(SourceKind.SECRET, "db")
PASSWORD = "hunter2-ä\x7f"


def by_hand(plane: ControlPlane, kind: str, name: str, namespace: str) -> str:
    """Return the checksum as the documentation says, by the real kubectl and the real jq."""
    printed = plane.kubectl("get", kind, name, f"--namespace={namespace}", "-o", "json").stdout
    line: str = jq.compile("{binaryData, data} | tojson").input_text(printed).first()
    return hashlib.sha256(line.encode() + b"\n").hexdigest()


def make_secret(plane: ControlPlane, namespace: str, password: str = PASSWORD) -> None:
    """Create or change the Secret `db`."""
    plane.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": password}},
        namespace=namespace,
    )


async def test_the_checksums_equal_those_made_by_hand(plane: ControlPlane, namespace: str, api: KubernetesApi) -> None:
    """For a Secret, and for a ConfigMap with special characters and binary data."""
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
    """It has the checksum of two nulls."""
    plane.kubectl("create", "secret", "generic", "db", f"--namespace={namespace}")
    answered = await ask(deployments(api), manifest(annotations={SECRETS: "db"}), namespace=namespace)
    assert answered.checksums == {KEY: by_hand(plane, "secret", "db", namespace)}


async def test_checksums_are_current(plane: ControlPlane, namespace: str, api: KubernetesApi) -> None:
    """Right after a change the new contents are used; changed metadata makes no difference."""
    endpoint = deployments(api)
    new = manifest(annotations={SECRETS: "db"})
    seen = set()
    for password in ("one", "two"):
        make_secret(plane, namespace, password)
        seen.add((await ask(endpoint, new, namespace=namespace)).checksums[KEY])
    plane.kubectl("label", "secret", "db", "a=b", f"--namespace={namespace}")
    seen.add((await ask(endpoint, new, namespace=namespace)).checksums[KEY])
    assert len(seen) == 2


@pytest.mark.parametrize(("index", "kind"), list(enumerate(KINDS)))
async def test_all_kinds_are_served(
    plane: ControlPlane, namespace: str, api: KubernetesApi, index: int, kind: WorkloadKind
) -> None:
    """Each at its own path, with the same answer."""
    make_secret(plane, namespace)
    endpoint = checksum_endpoints(api)[index]
    assert (endpoint.path, endpoint.name) == (f"/mutate/{kind.plural}", f"mutate-{kind.plural}")
    answered = await ask(endpoint, manifest(annotations={SECRETS: "db"}), namespace=namespace, kind=kind.name)
    assert answered.checksums == {KEY: by_hand(plane, "secret", "db", namespace)}


async def test_no_patch_when_nothing_changes(plane: ControlPlane, namespace: str, api: KubernetesApi) -> None:
    """The patched object needs no second patch."""
    make_secret(plane, namespace)
    once = await ask(deployments(api), manifest(annotations={SECRETS: "db"}), namespace=namespace)
    twice = await ask(deployments(api), once.object, once.object, namespace=namespace)
    assert once.patched
    assert not twice.patched


async def test_a_missing_object_by_policy(namespace: str, api: KubernetesApi) -> None:
    """It is a warning, a refusal, or the workload is held."""
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


async def test_a_forbidden_object_is_not_missing(plane: ControlPlane, namespace: str, connect: Connect) -> None:
    """A create is admitted even with `deny`, and an update keeps the stored checksum."""
    make_secret(plane, namespace)
    stranger = await connect(plane.kubeconfig_for("default", namespace))
    endpoint = deployments(stranger, ChecksumSettings(missing=MissingPolicy.DENY))
    new = manifest(annotations={SECRETS: "db"})
    created = await ask(endpoint, new, namespace=namespace)
    assert (created.allowed, created.patched) == (True, False)
    assert created.warnings == [
        'Secret "db" could not be read (HTTP 403). Its checksum is missing until it can be read.'
    ]
    old = manifest(
        annotations={SECRETS: "db", "rollout-checksums.proompteng.ai/managed": KEY},
        template_annotations={KEY: "a" * 64},
    )
    assert (await ask(endpoint, new, old, namespace=namespace)).checksums == {KEY: "a" * 64}


async def test_an_api_server_that_does_not_answer(connect: Connect, tmp_path: Path) -> None:
    """The webhook answers within the deadline; an object that could not be read is not missing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connections are made, but no request is read
        port = silent.getsockname()[1]
        endpoint = deployments(
            await connect(kubeconfig_of(port, tmp_path)), ChecksumSettings(missing=MissingPolicy.DENY)
        )
        answered = await ask(endpoint, manifest(annotations={SECRETS: "db"}), namespace="prod", seconds=0.3)
    assert answered.allowed
    assert "could not be read (no answer" in answered.warnings[0]


async def test_an_api_server_that_cannot_be_reached(connect: Connect, tmp_path: Path) -> None:
    """The object is not missing either."""
    (port,) = free_ports(1)
    endpoint = deployments(await connect(kubeconfig_of(port, tmp_path)), ChecksumSettings(missing=MissingPolicy.DENY))
    answered = await ask(endpoint, manifest(annotations={SECRETS: "db"}), namespace="prod")
    assert answered.allowed
    assert "could not be read (no answer)" in answered.warnings[0]


async def test_the_operators_list_changes_without_a_restart(
    plane: ControlPlane, namespace: str, api: KubernetesApi
) -> None:
    """Each request uses the present settings."""
    make_secret(plane, namespace)
    current = ChecksumSettings()
    endpoint = deployments(api, lambda: current)
    new = manifest(pod_spec={"containers": [{"envFrom": [{"secretRef": {"name": "db"}}]}]})
    assert not (await ask(endpoint, new, namespace=namespace)).patched
    current = ChecksumSettings(policy=OperatorPolicy(True, frozenset({namespace}), {DB: None}))
    assert (await ask(endpoint, new, namespace=namespace)).checksums == {KEY: by_hand(plane, "secret", "db", namespace)}


async def test_keyed(plane: ControlPlane, namespace: str, api: KubernetesApi) -> None:
    """With a key the checksum is stable, and differs from the plain one."""
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
    endpoint = deployments(api, registry=registry)
    new = manifest(annotations={SECRETS: "db"})
    answers = await asyncio.gather(*(ask(endpoint, new, namespace=namespace) for _ in range(100)))
    assert {answer.checksums[KEY] for answer in answers} == {by_hand(plane, "secret", "db", namespace)}
    reads = registry.get_sample_value("rollonce_checksum_reads_total", {"kind": "secret", "outcome": "found"})
    assert reads is not None
    assert reads < 10


async def test_nothing_secret_is_shown(plane: ControlPlane, namespace: str, api: KubernetesApi) -> None:
    """Contents and checksum are in no log, warning or metric; contents are in no patch."""
    make_secret(plane, namespace, "hunter2")
    registry = CollectorRegistry()
    with structlog.testing.capture_logs() as lines:
        endpoint = deployments(api, ChecksumSettings(key=b"sesame-sesame-sesame"), registry)
        new = manifest(annotations={SECRETS: "db, gone, Wrong"})
        answer = await endpoint.answer(review(new, namespace=namespace), Clock().deadline(10))
    shown = json.dumps(lines) + str([metric.samples for metric in registry.collect()])
    (line,) = lines
    assert (line["event"], line["request_uid"]) == ("checksums decided", "0df28fbd-5f5f-11e8-bc74-36e6bb280816")
    assert (line["outcome"], line["changed"], line["missing"]) == ("patched", ["secret/db"], ["secret/gone"])
    checksum = (await ask(endpoint, new, namespace=namespace)).checksums[KEY]
    for secret in ("hunter2", "aHVudGVyMg", "sesame"):
        assert secret not in shown + answer.body.decode() + repr(ChecksumSettings(key=b"sesame-sesame-sesame"))
    assert checksum not in shown


async def test_other_operations_are_allowed(api: KubernetesApi) -> None:
    """A delete cannot be patched."""
    endpoint = deployments(api)
    body = review(None, manifest(), namespace="prod", operation="DELETE")
    assert (await endpoint.answer(body, Clock().deadline(5))).outcome == "allowed"


@pytest.mark.parametrize(("new", "operation"), [(None, "CREATE"), (manifest(), "UPDATE")])
async def test_a_review_without_its_objects_is_malformed(api: KubernetesApi, new: Json | None, operation: str) -> None:
    """The message says what is missing."""
    body = review(new, namespace="prod", operation=operation)
    with pytest.raises(MalformedReviewError, match=f"review of an {operation} has to bring its objects"):
        await deployments(api).answer(body, Clock().deadline(5))


async def test_a_review_of_an_unknown_kind_is_malformed(api: KubernetesApi) -> None:
    """The API server sends it only if it was registered by hand."""
    body = review(manifest(), namespace="prod", kind="Job")
    with pytest.raises(MalformedReviewError, match="a kind that this webhook does not serve"):
        await deployments(api).answer(body, Clock().deadline(5))
