"""What outlives the servers: the state ConfigMap on a real API server, and what is not admitted twice thanks to it."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests import ledger
from tests.controlplane import ControlPlane
from tests.e2e.objects import RUNS, run
from tests.e2e.raw import RawClient, body, concurrently, raw_client
from tests.e2e.submitting import SETTINGS, run_names, short_timeout_plane, submit, until_answered, wait_until_synced
from tests.rollonce import ROOT, Installation
from tests.valkey import Valkey
from webhook.dedupe.core.ledger import NOTICE_SECONDS

pytestmark = pytest.mark.cluster

HOME: Final = "rollonce"
MANIFESTS: Final = ROOT / "deploy" / "manifests"
IN_DOUBT: Final = "all records of deduplication are in doubt"
LEASE_SECONDS: Final = 10
MISSING_RIGHT: Final = "rollonce may not read orchestrationruns.orchestration.proompteng.ai in this namespace"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start a control plane with a short timeout, so that the lease can be short."""
    with short_timeout_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
def installation(plane: ControlPlane, valkey: Valkey, tmp_path: Path) -> Iterator[Installation]:
    """Start two servers with a store, which the tests break."""
    with Installation.start(
        plane, tmp_path / "servers", redis_url=valkey.url, replicas=2, settings=SETTINGS
    ) as running:
        wait_until_synced(plane, running)
        yield running


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[RawClient]:
    """Open a client that submits and does not repeat creates."""
    async with raw_client(plane.kubeconfig) as made:
        yield made


def events(installation: Installation, event: str) -> list[dict[str, str]]:
    """Return the lines of all servers' logs with this event."""
    lines = [
        json.loads(line) for replica in installation.replicas for line in replica.process.log.read_text().splitlines()
    ]
    return [line for line in lines if line["event"] == event]


def wait_for_events(plane: ControlPlane, installation: Installation, event: str, count: int) -> None:
    """Wait until the logs have so many lines with this event."""
    plane.wait_for(lambda: len(events(installation, event)) >= count, what=event)


def test_servers_that_start_together_begin_one_installation(
    plane: ControlPlane, valkey: Valkey, tmp_path: Path
) -> None:
    """One of three finds that nothing was ever stored, and no other one doubts what it has begun."""
    with Installation.start(plane, tmp_path / "servers", redis_url=valkey.url, replicas=3) as running:
        wait_until_synced(plane, running)
        assert len(events(running, "deduplication store is new")) == 1
        assert events(running, IN_DOUBT) == []
        assert len(ledger.entry(plane)["servers"]) == 3


def apply_kustomization(plane: ControlPlane, folder: Path) -> None:
    """Apply the shipped manifest again by `kubectl apply -k`."""
    shutil.copy(ledger.MANIFEST, folder / "state.yaml")
    (folder / "kustomization.yaml").write_text("resources: [state.yaml]\n")
    plane.kubectl("apply", "-k", folder)


def apply_as_another_manager(plane: ControlPlane, folder: Path) -> None:
    """Apply it as a GitOps controller does."""
    assert folder.is_dir()
    plane.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", ledger.MANIFEST)


@pytest.mark.parametrize("apply", [apply_kustomization, apply_as_another_manager])
async def test_an_apply_keeps_the_state(
    *,
    plane: ControlPlane,
    namespace: str,
    installation: Installation,
    client: RawClient,
    tmp_path: Path,
    apply: Callable[[ControlPlane, Path], None],
) -> None:
    """The servers find what they have written, so nothing is in doubt and a create by name is allowed at once."""
    servers = set(ledger.entry(plane)["servers"])
    apply(plane, tmp_path)
    assert set(ledger.entry(plane)["servers"]) == servers
    assert (await submit(client, namespace, run("d", name="first"))()).status == 201
    since = max(known["seen"] for known in ledger.entry(plane)["servers"].values())
    plane.wait_for(
        lambda: all(known["seen"] > since for known in ledger.entry(plane)["servers"].values()),
        what="all servers to write the state again",
    )
    assert events(installation, IN_DOUBT) == []
    assert installation.metric("rollonce_dedupe_state_trusted") == len(servers)


async def test_a_replaced_state_puts_all_in_doubt(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient
) -> None:
    """`kubectl replace` empties it: creates by name wait for a lease, generated names do not, nothing runs twice."""
    assert (await submit(client, namespace, run("before", name="before"))()).status == 201
    plane.kubectl("replace", "-f", ledger.MANIFEST)
    wait_for_events(plane, installation, IN_DOUBT, 1)
    refused = await submit(client, namespace, run("new", name="new"))()
    assert (refused.status, body(refused)["reason"]) == (503, "ServiceUnavailable")
    assert 0 < body(refused)["details"]["retryAfterSeconds"] <= LEASE_SECONDS
    assert (await submit(client, namespace, run("by-prefix", prefix="build-"))()).status == 201
    reply = await submit(client, namespace, run("before", name="again"))()
    assert (reply.status, body(reply)["details"]["name"]) == (409, "before")
    assert (await until_answered(submit(client, namespace, run("new", name="new")))).status == 201
    assert len(run_names(plane, namespace)) == 3
    assert set(ledger.entry(plane)["servers"])


async def test_a_deleted_state_is_not_made_again(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient, valkey: Valkey
) -> None:
    """All is in doubt; the log says which file to apply; until then nothing is admitted while Redis is down."""
    plane.kubectl("delete", "configmap", ledger.NAME, "-n", HOME)
    wait_for_events(plane, installation, "state of deduplication is missing", 2)
    wait_for_events(plane, installation, IN_DOUBT, 2)
    for line in events(installation, "state of deduplication is missing"):
        assert "kubectl apply, from deploy/manifests/state.yaml" in line["problem"]
    assert (await submit(client, namespace, run("d", name="first"))()).status == 503
    assert (await until_answered(submit(client, namespace, run("d", name="first")))).status == 201
    valkey.kill()
    killed = time.monotonic()
    by_prefix = submit(client, namespace, run("prefix", prefix="build-"))
    while time.monotonic() - killed < NOTICE_SECONDS + 3:
        assert (await by_prefix()).status == 503
    assert plane.kubectl("get", "configmap", ledger.NAME, "-n", HOME, check=False).returncode == 1
    plane.kubectl("apply", "-f", ledger.MANIFEST)
    valkey.restart()
    assert (await until_answered(by_prefix)).status == 201
    wait_for_events(plane, installation, "state of deduplication exists again", 2)
    assert len(run_names(plane, namespace)) == 2


async def test_a_doubt_outlives_the_servers(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient, valkey: Valkey
) -> None:
    """A run that was admitted without Redis is known after all servers were killed and Redis is back."""
    valkey.freeze()
    assert (await until_answered(submit(client, namespace, run("d", prefix="build-")))).status == 201
    assert ledger.entry(plane)["outages"]
    for replica in installation.replicas:
        replica.process.kill()
    valkey.thaw()
    for replica in installation.replicas:
        replica.process.restart()
    reply = await until_answered(submit(client, namespace, run("d", name="by-hand")))
    assert (reply.status, [body(reply)["details"]["name"]]) == (409, run_names(plane, namespace))


async def test_a_short_stall_of_redis_frees_no_deleted_run(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient, valkey: Valkey
) -> None:
    """Finished runs are deleted: while Redis stalls for 1.2 s, the same creates are duplicates all the same."""
    creates = [submit(client, namespace, run(f"d-{number}", prefix="build-")) for number in range(10)]
    assert {reply.status for reply in await concurrently(10, creates)} == {201}
    plane.kubectl("delete", RUNS, "--all", "-n", namespace)
    valkey.freeze()
    repeated = asyncio.create_task(concurrently(10, [partial(until_answered, create) for create in creates]))
    await asyncio.sleep(1.2)  # the stall itself
    valkey.thaw()
    assert {reply.status for reply in await repeated} == {409}
    assert run_names(plane, namespace) == []
    assert installation.metric("rollonce_dedupe_degraded_total") == 0


async def test_without_rights_the_client_is_told(
    plane: ControlPlane, namespace: str, valkey: Valkey, client: RawClient, tmp_path: Path
) -> None:
    """In a namespace without `access/` the first create gets a warning, and its duplicate an answer with the right."""
    plane.kubectl("apply", "-f", MANIFESTS / "namespace.yaml", "-f", MANIFESTS / "rbac.yaml")
    plane.kubectl("apply", "-k", MANIFESTS / "access", "-n", "default")
    with Installation.start(
        plane,
        tmp_path / "servers",
        redis_url=valkey.url,
        kubeconfig=plane.kubeconfig_for("rollonce", HOME),
        settings=(*SETTINGS, "--dedupe-namespaces=default"),
    ) as running:
        wait_until_synced(plane, running)
        first = plane.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(run("d", name="first")))
        command = f"rollonce rbac -n {namespace} | kubectl apply -f -"
        assert (
            f"Warning: Duplicates of this run cannot be decided: {MISSING_RIGHT}; grant it by: {command}"
            in first.stderr
        )
        reply = await submit(client, namespace, run("d", name="second"))()
        assert (reply.status, body(reply)["reason"]) == (403, "Forbidden")
        assert f"{MISSING_RIGHT}; grant it by: {command}" in body(reply)["message"]
        plane.kubectl("apply", "-k", MANIFESTS / "access", "-n", namespace)
        reply = await until_answered(submit(client, namespace, run("d", name="second")))
        assert (reply.status, body(reply)["details"]["name"]) == (409, "first")
