"""Updates of runs: only a change of the identity is sent to the server, so all others work while it is down."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.controlplane import ControlPlane
from tests.e2e.objects import RUNS, Object, run, runs
from tests.e2e.raw import RUNS_PATH, RawClient, body, raw_client
from tests.rollonce import Installation

LABEL = "jangar.proompteng.ai/delivery-id"
#: Specs with each field absent; `{id}` stands for an id of its own for each pair.
SPECS: Final[tuple[Object | None, ...]] = (
    None,
    {},
    {"orchestrationRef": {}},
    {"orchestrationRef": {"name": "nightly"}},
    {"deliveryId": " "},
    {"deliveryId": "{id}"},
    {"deliveryId": "{id}", "orchestrationRef": {}},
    {"deliveryId": "{id}", "orchestrationRef": {"name": "nightly"}},
    {"deliveryId": "{id}-b", "orchestrationRef": {"name": "nightly"}},
    {"deliveryId": "{id}", "orchestrationRef": {"name": "weekly"}},
)


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[RawClient]:
    """Connections to the API server."""
    async with raw_client(plane.kubeconfig) as connections:
        yield connections


@contextmanager
def down(installation: Installation) -> Iterator[None]:
    """Let no server be reachable."""
    ports, installation.balancer.ports = installation.balancer.ports, ()
    installation.balancer.cut()
    try:
        yield
    finally:
        installation.balancer.ports = ports


def identity(spec: Object | None) -> tuple[str, str]:
    """Return what identifies the delivery; empty if there is none."""
    spec = spec or {}
    delivery_id = str(spec.get("deliveryId", "")).strip()
    return (delivery_id, spec.get("orchestrationRef", {}).get("name", "")) if delivery_id else ("", "")


def manifest(name: str, spec: Object | None) -> Object:
    """Return a run with a spec, or without one."""
    text = json.dumps(spec).replace("{id}", f"id-{name}")
    given: Object = {} if spec is None else {"spec": json.loads(text)}
    return {
        "apiVersion": "orchestration.proompteng.ai/v1alpha1",
        "kind": "OrchestrationRun",
        "metadata": {"name": name},
        **given,
    }


async def test_only_a_change_of_the_identity_needs_the_server(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient
) -> None:
    """For every pair of specs: without a server only a change of the identity fails, which is 422 with one."""
    path = RUNS_PATH.format(namespace)
    changes: list[tuple[str, Object]] = []
    for number, (old, new) in enumerate(itertools.product(SPECS, SPECS)):
        name = f"run-{number}"
        created = await client.create(path, manifest(name, old))
        assert created.status == 201, created.body
        update = manifest(name, new)
        update["metadata"] = body(created)["metadata"] | {"annotations": {"changed": "yes"}}
        # Blank ids differ in the field, and in nothing that identifies: the handler allows what the expression sends.
        blank = " " in {(old or {}).get("deliveryId"), (new or {}).get("deliveryId")} and old != new
        with down(installation):
            reply = await client.replace(f"{path}/{name}", update)
        if identity(old) == identity(new) and not blank:
            assert reply.status == 200, (old, new, reply.body)
        elif identity(old) != identity(new):
            assert reply.status == 500, (old, new, reply.body)
            changes.append((f"{path}/{name}", update))
    assert len(changes) > len(SPECS)
    for where, update in changes:
        reply = await client.replace(where, update)
        assert reply.status == 422, (update, reply.body)
    plane.kubectl("delete", RUNS, "--all", "-n", namespace)


def test_a_label_that_was_changed_is_restored(plane: ControlPlane, namespace: str, installation: Installation) -> None:
    """Removing or changing our label sets it again; while no server is reachable it can be removed, and comes back."""
    plane.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(run("d-1", name="labelled")))

    def label(change: str) -> str:
        plane.kubectl("label", "--overwrite", RUNS, "labelled", "-n", namespace, change)
        (found,) = runs(plane, namespace)
        return str(found["metadata"].get("labels", {}).get(LABEL, ""))

    assert label(f"{LABEL}-") == "d-1"
    assert label(f"{LABEL}=other") == "d-1"
    with down(installation):
        assert not label(f"{LABEL}-")
    # Nothing of ours has changed, so nothing is asked.
    assert not label("team=a")
    assert label(f"{LABEL}=other") == "d-1"


def test_a_namespace_can_be_deleted_while_no_server_is_reachable(
    plane: ControlPlane, namespace: str, installation: Installation
) -> None:
    """A run with a finalizer loses it, and its namespace goes."""
    stored = run("d-1", name="held")
    stored["metadata"]["finalizers"] = ["example.com/hold"]
    plane.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(stored))
    with down(installation):
        plane.kubectl("delete", "namespace", namespace, "--wait=false")
        plane.kubectl(
            *("patch", RUNS, "held", "-n", namespace, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        )
        plane.kubectl("wait", "--for=delete", f"namespace/{namespace}", "--timeout=60s")
    plane.kubectl("create", "namespace", namespace)
