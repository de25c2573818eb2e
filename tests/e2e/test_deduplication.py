"""Deduplication at admission, with real kubectl, a real API server and a real Valkey."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.commands import Result
from tests.e2e.objects import RUNS, Object, run, runs
from tests.rollonce import Installation

pytestmark = pytest.mark.usefixtures("installation")

LABEL = "jangar.proompteng.ai/delivery-id"


@pytest.fixture
def delivery_id() -> str:
    """Return a new delivery id."""
    return str(uuid4())


def create(plane: ControlPlane, namespace: str, manifest: Object, *arguments: str) -> Result:
    """Run `kubectl create`."""
    return plane.kubectl("create", "-n", namespace, *arguments, "-f", "-", input=json.dumps(manifest), check=False)


def create_all(plane: ControlPlane, namespace: str, manifests: list[Object]) -> list[Result]:
    """Create objects at the same time, each by its own kubectl."""
    with ThreadPoolExecutor(max_workers=25) as pool:
        return list(pool.map(lambda manifest: create(plane, namespace, manifest), manifests))


def test_the_second_create_is_refused_with_the_first_run(plane: ControlPlane, namespace: str, delivery_id: str) -> None:
    """The error has AlreadyExists, the name of the existing run, its phase, and "idempotent"."""
    assert create(plane, namespace, run(delivery_id, name="first")).returncode == 0
    plane.kubectl(
        *("patch", RUNS, "first", "-n", namespace, "--subresource=status", "--type=merge"),
        *("-p", '{"status":{"phase":"Running","runId":"r-1"}}'),
    )
    refused = create(plane, namespace, run(delivery_id, name="second"))
    assert refused.returncode == 1
    for word in ("Error from server (AlreadyExists)", "first", "Running", "idempotent"):
        assert word in refused.stderr
    assert [found["metadata"]["name"] for found in runs(plane, namespace)] == ["first"]


def test_a_generated_name_depends_on_the_delivery(plane: ControlPlane, namespace: str, delivery_id: str) -> None:
    """The same prefix and delivery give the same name, so a second create is refused with AlreadyExists."""
    made = create(plane, namespace, run(delivery_id, prefix="build-"), "-o", "json")
    stored = json.loads(made.stdout)
    assert stored["metadata"]["name"].startswith("build-")
    assert len(stored["metadata"]["name"]) == len("build-") + 16
    assert "generateName" not in stored["metadata"]
    assert stored["metadata"]["labels"] == {LABEL: delivery_id}
    refused = create(plane, namespace, run(delivery_id, prefix="build-"))
    assert "\nError from server (AlreadyExists)" in refused.stderr
    assert "could not generate" not in refused.stderr


def test_an_id_that_is_not_a_valid_label_value_gets_a_hashed_label(plane: ControlPlane, namespace: str) -> None:
    """A run whose id is not a valid label value is found by a label with a part of the id and a hash."""
    assert create(plane, namespace, run("a/b")).returncode == 0
    assert len(runs(plane, namespace, f"{LABEL}=a-b-c14cddc033f6")) == 1


def test_100_concurrent_creates_of_one_prefix_make_one_run(
    plane: ControlPlane, namespace: str, delivery_id: str
) -> None:
    """Through two servers, one create succeeds and each other one gets AlreadyExists."""
    results = create_all(plane, namespace, [run(delivery_id, prefix="build-")] * 100)
    assert sum(result.returncode == 0 for result in results) == 1
    assert len(runs(plane, namespace)) == 1
    for result in results:
        assert result.returncode == 0 or "Error from server (AlreadyExists)" in result.stderr, result.stderr


def test_100_concurrent_creates_of_different_names_make_one_run(
    plane: ControlPlane, namespace: str, delivery_id: str
) -> None:
    """Creates of one delivery with different names store one run."""
    results = create_all(plane, namespace, [run(delivery_id, name=f"run-{number}") for number in range(100)])
    assert sum(result.returncode == 0 for result in results) == 1
    assert len(runs(plane, namespace)) == 1
    for result in results:
        assert result.returncode == 0 or "(AlreadyExists)" in result.stderr, result.stderr


def test_another_namespace_or_orchestration_is_another_delivery(
    plane: ControlPlane, namespace: str, delivery_id: str
) -> None:
    """The same id in another namespace or for another orchestration is another delivery."""
    other = f"{namespace}-b"
    plane.kubectl("create", "namespace", other)
    try:
        assert create(plane, namespace, run(delivery_id, ref="build")).returncode == 0
        assert create(plane, namespace, run(delivery_id, ref="deploy")).returncode == 0
        assert create(plane, other, run(delivery_id, ref="build")).returncode == 0
        assert create(plane, other, run(delivery_id, ref="build")).returncode == 1
    finally:
        plane.kubectl("delete", "namespace", other, "--wait=false")


@pytest.mark.parametrize("blank", [None, "", "   "])
def test_runs_without_an_id_are_ignored(plane: ControlPlane, namespace: str, blank: str | None) -> None:
    """Runs without a deliveryId, or with a blank one, are all stored, without a label."""
    for _ in range(2):
        assert create(plane, namespace, run(blank)).returncode == 0
    assert len(runs(plane, namespace)) == 2
    assert LABEL not in json.dumps([found["metadata"].get("labels") for found in runs(plane, namespace)])


def test_without_an_id_the_server_is_not_called(
    plane: ControlPlane, installation: Installation, namespace: str
) -> None:
    """The match conditions of the webhooks exclude runs without a deliveryId."""
    calls = installation.metric("rollonce_admission_requests_total")
    assert create(plane, namespace, run(None)).returncode == 0
    assert create(plane, namespace, {**run(None), "spec": {"orchestrationRef": {"name": "x"}}}).returncode == 0
    assert installation.metric("rollonce_admission_requests_total") == calls


def test_an_id_that_is_not_a_string_is_refused_by_the_schema(plane: ControlPlane, namespace: str) -> None:
    """A number as deliveryId is refused by the API server's schema validation, and not as a failed webhook."""
    manifest = run(None)
    manifest["spec"]["deliveryId"] = 123
    refused = create(plane, namespace, manifest, "--validate=false")
    assert refused.returncode == 1
    assert "must be of type string" in refused.stderr
    assert "webhook" not in refused.stderr


def test_a_dry_run_reserves_nothing(plane: ControlPlane, namespace: str, delivery_id: str) -> None:
    """After a dry run, the delivery can be created under another name."""
    shown = create(plane, namespace, run(delivery_id, name="tried"), "--dry-run=server", "-o", "json")
    assert json.loads(shown.stdout)["metadata"]["labels"][LABEL] == delivery_id
    assert create(plane, namespace, run(delivery_id, name="real")).returncode == 0
    assert [found["metadata"]["name"] for found in runs(plane, namespace)] == ["real"]


@pytest.mark.parametrize("mode", [(), ("--server-side",)])
def test_a_second_apply_is_no_duplicate(
    plane: ControlPlane, namespace: str, delivery_id: str, mode: tuple[str, ...]
) -> None:
    """The same manifest can be applied again and gives one run."""
    manifest = run(delivery_id, name="applied")
    plane.apply(manifest, *mode, namespace=namespace)
    plane.apply(manifest, *mode, namespace=namespace)
    assert len(runs(plane, namespace)) == 1


def test_the_id_and_the_orchestration_are_immutable(plane: ControlPlane, namespace: str, delivery_id: str) -> None:
    """Adding, changing and removing them is refused with the name of the field; other fields can change."""
    assert create(plane, namespace, run(delivery_id, name="fixed")).returncode == 0
    assert create(plane, namespace, run(None, name="free")).returncode == 0
    for name, change in (
        ("fixed", {"deliveryId": "other"}),
        ("fixed", {"deliveryId": None}),
        ("fixed", {"orchestrationRef": {"name": "other"}}),
        ("free", {"deliveryId": delivery_id}),
    ):
        patch = json.dumps({"spec": change})
        refused = plane.kubectl("patch", RUNS, name, "-n", namespace, "--type=merge", "-p", patch, check=False)
        assert refused.returncode == 1, change
        assert f"spec.{next(iter(change))}" in refused.stderr
    plane.kubectl("patch", RUNS, "fixed", "-n", namespace, "--type=merge", "-p", '{"spec":{"parameters":{"a":"b"}}}')


def test_a_deleted_run_is_still_a_duplicate(plane: ControlPlane, namespace: str, delivery_id: str) -> None:
    """A delivery that has had a run is a duplicate, also after the run was deleted."""
    assert create(plane, namespace, run(delivery_id, name="gone")).returncode == 0
    plane.kubectl("delete", RUNS, "gone", "-n", namespace)
    refused = create(plane, namespace, run(delivery_id, name="again"))
    assert "(AlreadyExists)" in refused.stderr
    assert "gone" in refused.stderr


def test_a_refusal_by_a_quota_blocks_no_retry(plane: ControlPlane, namespace: str, delivery_id: str) -> None:
    """After a quota refused an allowed create, the same name can be created when the quota is removed."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {f"count/{RUNS}": "0"}},
    }
    plane.apply(quota, namespace=namespace)
    plane.wait_for(
        lambda: plane.get("resourcequota", "none", namespace).get("status", {}).get("hard"), what="the quota to apply"
    )
    refused = create(plane, namespace, run(delivery_id, name="same"))
    assert "(Forbidden)" in refused.stderr
    assert "quota: none" in refused.stderr
    plane.kubectl("delete", "resourcequota", "none", "-n", namespace)
    assert create(plane, namespace, run(delivery_id, name="same")).returncode == 0
