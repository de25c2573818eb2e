"""Electors on a real API server, with processes that are frozen and killed and a network that is frozen."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.controlplane import ControlPlane, ManagedProcess, wait_for
from tests.webhook.kube.conftest import ROOT, Connect, Network, new_elector
from tests.webhook.kube.waiting import eventually
from webhook.errors import KubernetesError
from webhook.kube.client import KubernetesClient
from webhook.kube.core.lease import LeaseTiming
from webhook.kube.election import Elector, Term

#: Short for a test, and much longer than one call takes on a busy machine.
TIMES = "4/3/0.2"
TIMING = LeaseTiming(4, 3.0, 0.2)


@dataclass(frozen=True, slots=True)
class Replica:
    """An elector in its own process.

    Attributes:
        process: The process, which a test can freeze, thaw, kill and terminate.
    """

    process: ManagedProcess

    def times(self, word: str) -> list[float]:
        """Return when it wrote a word, in seconds of the machine's monotonic clock."""
        lines = self.process.log.read_text().splitlines(keepends=True)
        return [float(line.split()[1]) for line in lines if line.startswith(f"{word} ") and line.endswith("\n")]

    @property
    def leads(self) -> bool:
        """Whether it has started more terms than it has ended."""
        return len(self.times("began")) > len(self.times("ended"))


Join = Callable[..., Replica]


@pytest.fixture
def join(plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Join]:
    """Return a function that starts replicas by name and kubeconfig; they are killed afterwards."""
    replicas: list[Replica] = []

    def start(name: str, kubeconfig: Path | None = None) -> Replica:
        log = tmp_path / f"{name}.log"
        argv = [sys.executable, "-m", "tests.webhook.kube.elector_process"]
        argv += [str(kubeconfig or plane.kubeconfig), namespace, "controller", name, TIMES]
        process = ManagedProcess(name, argv, log=log, cwd=ROOT, ready=lambda: "joined" in log.read_text())
        replicas.append(Replica(process.start()))
        return replicas[-1]

    yield start
    for replica in replicas:
        replica.process.kill()


def wait_until_leading(replica: Replica) -> None:
    """Wait until a replica leads and has done some work."""
    wait_for(lambda: replica.leads and replica.times("worked"), what=f"{replica.process.name} to lead")


def holder(plane: ControlPlane, namespace: str) -> str:
    """Return the holder of the Lease as the API server has it."""
    return str(plane.get("lease", "controller", namespace)["spec"].get("holderIdentity"))


def test_one_replica_leads_and_releases_the_lease_when_it_stops(
    plane: ControlPlane, namespace: str, join: Join
) -> None:
    """After SIGTERM to the leader, another replica leads long before the lease duration is over."""
    replicas = [join(name) for name in ("a", "b", "c")]
    for terms in itertools.count(1):
        wait_for(lambda: any(replica.leads for replica in replicas), what="a leader")
        (leader,) = (replica for replica in replicas if replica.leads)
        assert holder(plane, namespace) == leader.process.name
        assert plane.get("lease", "controller", namespace)["spec"]["leaseTransitions"] == terms - 1
        leader.process.terminate()
        (ended,) = leader.times("ended")
        replicas.remove(leader)
        if not replicas:
            break
        wait_for(lambda: any(replica.leads for replica in replicas), what="a successor")
        ((began,),) = (replica.times("began") for replica in replicas if replica.leads)
        assert 0 < began - ended < TIMING.lease_duration
    released = plane.get("lease", "controller", namespace)["spec"]
    assert (released["holderIdentity"], released["leaseDurationSeconds"]) == ("", 1)


def test_the_lease_of_a_killed_leader_must_expire(join: Join) -> None:
    """After SIGKILL to the leader, another replica leads when the lease duration is over, and not earlier."""
    first = join("first")
    wait_until_leading(first)
    second = join("second")
    wait_for(lambda: "another replica leads" in second.process.log.read_text(), what="the second to see the first")
    last = first.times("worked")[-1]
    first.process.kill()
    wait_until_leading(second)
    assert second.times("began")[0] - last > TIMING.renew_deadline


def test_a_leader_that_was_frozen_too_long_ends_its_term_at_once(join: Join) -> None:
    """When it continues, a leader that was frozen longer than its lease does no more work, and the other one leads."""
    frozen = join("frozen")
    wait_until_leading(frozen)
    other = join("other")
    frozen.process.freeze()
    worked = len(frozen.times("worked"))
    wait_until_leading(other)
    frozen.process.thaw()
    wait_for(lambda: frozen.times("ended"), what="the thawed replica to end its term")
    (ended,) = frozen.times("ended")
    # It may finish the line that it was writing when it was frozen.
    assert len([at for at in frozen.times("worked")[worked:] if at > other.times("began")[0]]) <= 1
    assert len(frozen.times("worked")) - worked <= 1
    wait_for(lambda: other.times("worked")[-1] > ended + TIMING.retry_period, what="the other replica to lead on")
    assert other.leads
    assert not frozen.leads


def test_a_frozen_network_ends_the_term_before_the_next_starts(join: Join, network: Network) -> None:
    """A leader whose calls get no answer ends its term in time, and can lead again when the network works."""
    disconnected = join("disconnected", network.kubeconfig)
    wait_until_leading(disconnected)
    other = join("other")
    network.process.freeze()
    wait_until_leading(other)
    (ended,) = disconnected.times("ended")
    assert ended < other.times("began")[0]
    network.process.thaw()
    other.process.terminate()
    wait_for(lambda: len(disconnected.times("began")) == 2, what="the disconnected replica to lead again")


@contextlib.asynccontextmanager
async def running(elector: Elector) -> AsyncIterator[list[Term]]:
    """Run an elector until the end of the block; yield a list that has its term while it leads."""
    terms: list[Term] = []

    async def lead(term: Term) -> None:
        terms.append(term)
        try:
            await asyncio.Event().wait()
        finally:
            terms.remove(term)

    task = asyncio.create_task(elector.run(lead))
    try:
        yield terms
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_deleted_lease_is_recreated_by_its_holder(
    plane: ControlPlane, api: KubernetesClient, namespace: str
) -> None:
    """The term continues, and the waiting elector does not lead."""
    async with (
        running(new_elector(api, namespace, "a", TIMING)) as first,
        running(new_elector(api, namespace, "b", TIMING)) as second,
    ):
        await eventually(lambda: first or second)
        leader, terms = ("a", tuple(first)) if first else ("b", tuple(second))
        deleted = plane.get("lease", "controller", namespace)["metadata"]["uid"]
        await asyncio.to_thread(plane.kubectl, "delete", "lease", "controller", "-n", namespace)
        await eventually(lambda: plane.kubectl("get", "lease", "-n", namespace, "-o", "name").stdout)
        assert plane.get("lease", "controller", namespace)["metadata"]["uid"] != deleted
        assert holder(plane, namespace) == leader
        assert (tuple(first) or tuple(second)) == terms


@pytest.mark.parametrize(
    "spec", [{}, {"leaseDurationSeconds": 2}, {"holderIdentity": "", "renewTime": "1970-01-01T00:00:00.000000Z"}]
)
async def test_a_lease_without_a_holder_is_taken(
    plane: ControlPlane, api: KubernetesClient, namespace: str, spec: dict[str, object]
) -> None:
    """A Lease with an empty or incomplete spec is taken, and its labels and annotations stay."""
    metadata = {"name": "controller", "namespace": namespace, "labels": {"team": "shop"}}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    await asyncio.to_thread(plane.apply, lease)
    async with running(new_elector(api, namespace, "a", TIMING)) as terms:
        await eventually(lambda: terms)
        stored = plane.get("lease", "controller", namespace)
        assert stored["spec"]["holderIdentity"] == "a"
        assert stored["metadata"]["labels"] == {"team": "shop"}
        assert "kubectl.kubernetes.io/last-applied-configuration" in stored["metadata"]["annotations"]


async def test_a_lease_without_times_expires_after_the_own_lease_duration(
    plane: ControlPlane, api: KubernetesClient, namespace: str
) -> None:
    """A holder that never renews is replaced after this elector's own lease duration."""
    metadata = {"name": "controller", "namespace": namespace}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
    await asyncio.to_thread(plane.apply, lease | {"spec": {"holderIdentity": "another controller"}})
    loop = asyncio.get_running_loop()
    start = loop.time()
    with capture_logs() as logs:
        async with running(new_elector(api, namespace, "a", TIMING)) as terms:
            await eventually(lambda: terms)
    assert loop.time() - start >= TIMING.lease_duration
    assert {"event": "another replica leads", "detail": "another controller"}.items() <= logs[0].items()


async def test_a_new_label_does_not_end_the_term(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """A change of the Lease by another client that keeps the holder does not end the term."""
    async with running(new_elector(api, namespace, "a", TIMING)) as terms:
        await eventually(lambda: terms)
        (term,) = terms
        await asyncio.to_thread(plane.kubectl, "label", "lease", "controller", "a=b", "-n", namespace)
        before = plane.get("lease", "controller", namespace)["spec"]["renewTime"]
        await eventually(lambda: plane.get("lease", "controller", namespace)["spec"]["renewTime"] != before)
        assert terms == [term]
        assert plane.get("lease", "controller", namespace)["metadata"]["labels"] == {"a": "b"}


async def test_another_holder_in_the_lease_ends_the_term(
    plane: ControlPlane, api: KubernetesClient, namespace: str
) -> None:
    """If another client writes another holder, the term ends at the next renewal."""
    async with running(new_elector(api, namespace, "a", TIMING)) as terms:
        await eventually(lambda: terms)
        patch = '{"spec":{"holderIdentity":"an operator","leaseDurationSeconds":60}}'
        await asyncio.to_thread(
            plane.kubectl, "patch", "lease", "controller", "-n", namespace, "--type=merge", "-p", patch
        )
        await eventually(lambda: not terms)
    assert holder(plane, namespace) == "an operator"


async def test_the_leaders_work_can_end_by_itself(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """If the work returns or raises, the Lease is released, and `run` returns or raises the error."""

    async def done(term: Term) -> None:
        assert term.holds

    async def broken(term: Term) -> None:
        assert term.deadline(1.0).remaining() <= 1.0
        raise KubernetesError("The API server has failed.")

    elector = new_elector(api, namespace, "a", TIMING)
    await elector.run(done)
    assert holder(plane, namespace) == ""
    with pytest.raises(KubernetesError, match="has failed"):
        await elector.run(broken)
    assert holder(plane, namespace) == ""
    assert plane.get("lease", "controller", namespace)["spec"]["leaseTransitions"] == 1


async def test_a_missing_right_is_logged_once(plane: ControlPlane, namespace: str, connect: Connect) -> None:
    """The log line has the rights to grant, and when they are granted, the elector leads without a restart."""
    kubeconfig = await asyncio.to_thread(plane.kubeconfig_for, "default", namespace)
    with capture_logs() as logs:
        async with running(new_elector(await connect(kubeconfig), namespace, "a", TIMING)) as terms:
            await eventually(lambda: logs)
            role = ("--verb=get,create,update", "--resource=leases.coordination.k8s.io")
            await asyncio.to_thread(plane.kubectl, "create", "role", "leader", *role, "-n", namespace)
            binding = ("--role=leader", f"--serviceaccount={namespace}:default")
            await asyncio.to_thread(plane.kubectl, "create", "rolebinding", "leader", *binding, "-n", namespace)
            await eventually(lambda: terms)
    problems = [str(line["detail"]) for line in logs if line["event"] == "lease cannot be acquired"]
    assert len(problems) == len(set(problems))
    assert "403" in problems[0]
    assert "needs get, create and update of leases.coordination.k8s.io" in problems[0]


async def test_a_leader_without_an_api_server_logs_and_ends(namespace: str, network: Network, connect: Connect) -> None:
    """If the API server is gone, failed renewals are logged, and a cancelled leader logs that its Lease must expire."""
    network_client = await connect(network.kubeconfig)
    with capture_logs() as logs:
        async with running(new_elector(network_client, namespace, "a", TIMING)) as terms:
            await eventually(lambda: terms)
            network.process.kill()
            await eventually(lambda: any(line["event"] == "lease cannot be renewed" for line in logs))
            assert terms
    assert [line["event"] for line in logs[-2:]] == [
        "lease could not be released and must expire",
        "no longer leading",
    ]


async def test_work_that_does_not_end_is_logged_and_awaited(
    plane: ControlPlane, api: KubernetesClient, namespace: str
) -> None:
    """The Lease is held until all work of the leader has ended."""
    may_end = asyncio.Event()

    async def stubborn(_: Term) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()

    with capture_logs() as logs:
        task = asyncio.create_task(new_elector(api, namespace, "a", TIMING).run(stubborn))
        await eventually(lambda: any(line["event"] == "leading" for line in logs))
        task.cancel()
        await eventually(lambda: any(line["log_level"] == "error" for line in logs))
        assert holder(plane, namespace) == "a"
        assert not task.done()
        may_end.set()
        await asyncio.gather(task, return_exceptions=True)
    assert holder(plane, namespace) == ""
