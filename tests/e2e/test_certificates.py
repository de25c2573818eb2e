"""Certificates that are made, rotated, lost and damaged while twenty writers go on: no call fails.

Failures are counted by the API server itself; its Go verifier is the judge of every chain.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial

import pytest

from certs.bundle import Bundle, parse_bundle
from certs.rotator import request_leaves
from certs.secret_store import SecretStore
from tests.certs.cluster import bundles, connected
from tests.controlplane import ControlPlane
from tests.controlplane.audit import AuditEvent
from tests.controlplane.commands import Result, run
from tests.controlplane.polling import wait_for
from tests.e2e.load import Load, failed_calls, made_calls
from tests.rollonce import ROOT, Installation, SelfManaged
from tests.valkey import Valkey
from webhook.certificates.served import now

pytestmark = pytest.mark.cluster

HOME = "rollonce"
#: Where the writers write: one for all tests, since deleting what they wrote would be a load of its own.
BUSY = "busy"
SECRET = "rollonce-ca"
MANIFESTS = ROOT / "deploy" / "manifests"
LEAF_SECONDS = 10


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of its own, whose metrics count these webhooks only."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        for namespace in (HOME, BUSY):
            running.kubectl("create", "namespace", namespace)
        running.kubectl("apply", "-f", MANIFESTS / "rbac.yaml")
        running.kubectl("apply", "-k", MANIFESTS / "access", "-n", BUSY)
        yield running


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The deduplication store."""
    with Valkey.start(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def installation(
    plane: ControlPlane, store: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Three servers and two controllers that started at the same moment, with lifetimes of seconds.

    They have the rights that the manifests give them, and no other.
    """
    settings = (f"--tls-leaf-lifetime={LEAF_SECONDS}s", "--tls-settle=1s", "--tls-margin=1s")
    controller = plane.kubeconfig_for("rollonce-controller", HOME)
    with Installation.start(
        plane,
        tmp_path_factory.mktemp("servers"),
        redis_url=store.url,
        replicas=3,
        kubeconfig=plane.kubeconfig_for("rollonce", HOME),
        settings=("--drain=2s", f"--dedupe-namespaces={BUSY}"),
        managed=SelfManaged(HOME, settings, controllers=2, kubeconfig=controller),
    ) as running:
        yield running


def certs(installation: Installation, *arguments: str, check: bool = True) -> Result:
    """Run `rollonce certs` as an administrator who can reach the servers."""
    (command, *rest) = arguments
    replicas = [f"--replica=127.0.0.1:{replica.port}" for replica in installation.replicas]
    settings = [f"--kubeconfig={installation.plane.kubeconfig}", *installation.certificate_settings()]
    return run(
        [sys.executable, "-m", "webhook", "certs", command, *rest, *replicas, *settings],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=None,
        check=check,
        timeout=60,
    )


def published(plane: ControlPlane) -> set[Bundle]:
    """The different bundles that our webhooks carry."""
    found = [bundles(plane, kind, "rollonce") for kind in ("mutating", "validating")]
    return {parse_bundle(pem, what="caBundle") for one in found for pem in one.values()}


def settled(plane: ControlPlane) -> Bundle | None:
    """The one CA that every webhook trusts, None while it is not one alone."""
    (first, *others) = published(plane)
    return first if not others and len(first.certificates) == 1 else None


def test_who_starts_first_makes_the_ca(plane: ControlPlane, installation: Installation) -> None:
    """Five programs that begin at once make one CA, which one of them stored and all of them use."""
    created = [
        event
        for event in plane.audit.events(verb="create", resource="secrets", namespace=HOME)
        if event.response_status.code == 201
    ]
    assert len(created) == 1
    report = json.loads(certs(installation, "status", "-o", "json").stdout)
    (authority,) = report["authorities"]
    assert {replica["issuer"] for replica in report["replicas"]} == {authority["fingerprint"]}
    assert {trusted for webhook in report["webhooks"] for trusted in webhook["trusts"]} == {authority["fingerprint"]}
    assert len({replica["fingerprint"] for replica in report["replicas"]}) == 3


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_rotation_of_the_ca_fails_no_call(plane: ControlPlane, installation: Installation, turn: str) -> None:
    """Made, published, confirmed, signing, the old one dropped, under load; once more from the successor."""
    before, calls = failed_calls(plane), made_calls(plane)
    old = wait_for(lambda: settled(plane), what="one CA")
    with Load(plane, BUSY) as load:
        said = certs(installation, "rotate", "--ca").stderr
        assert "Made the next CA" in said, turn
        assert "Done: CA" in said
        assert "\x1b" not in said
        wait_for(lambda: settled(plane) not in (None, old), what="the old CA to be dropped")
        load.wait_for(100)
    assert load.failures == {}
    assert failed_calls(plane) == before
    assert made_calls(plane) >= calls + load.written


def test_ten_rotations_of_leaves_fail_no_call(plane: ControlPlane, installation: Installation) -> None:
    """Each time every server takes a new leaf, while connections go on and new ones are made."""

    async def ask() -> None:
        async with connected(plane) as api:
            assert await request_leaves(SecretStore(api, namespace=HOME, name=SECRET), clock=now)

    def renewals() -> list[float]:
        return [replica.metric("rollonce_certificate_renewals_total") for replica in installation.replicas]

    def more(than: list[float]) -> bool:
        return all(new > old for new, old in zip(renewals(), than, strict=True))

    before = failed_calls(plane)
    with Load(plane, BUSY) as load:
        for _ in range(10):
            made = renewals()
            asyncio.run(ask())
            wait_for(partial(more, made), what="every server to renew")
            load.wait_for(20)
    assert load.failures == {}
    assert failed_calls(plane) == before


@pytest.mark.parametrize(
    "harm",
    [
        ("delete", "secret", SECRET),
        ("patch", "secret", SECRET, "--patch", '{"data": {"ca.key": "eA=="}}'),
        ("patch", "secret", SECRET, "--type=merge", "--patch", '{"data": null}'),
    ],
    ids=["deleted", "damaged", "emptied"],
)
@pytest.mark.usefixtures("installation")
def test_a_lost_secret_fails_no_call(plane: ControlPlane, harm: tuple[str, ...]) -> None:
    """A new CA is made and takes over, and what is served goes on being trusted."""
    old = wait_for(lambda: settled(plane), what="one CA")
    before = failed_calls(plane)
    with Load(plane, BUSY) as load:
        plane.kubectl(*harm, "-n", HOME)
        wait_for(lambda: settled(plane) not in (None, old), 40, "another CA alone")
        load.wait_for(100)
    assert load.failures == {}
    assert failed_calls(plane) == before


@pytest.mark.usefixtures("installation")
def test_an_emptied_configuration_is_mended_at_once(
    plane: ControlPlane, record_property: Callable[[str, object], None]
) -> None:
    """What a GitOps tool does at its worst: calls fail until the controller has seen it, and not a moment longer."""
    wait_for(lambda: settled(plane), what="one CA")
    configuration = plane.get("mutatingwebhookconfiguration", "rollonce")
    for webhook in configuration["webhooks"]:
        webhook["clientConfig"]["caBundle"] = ""
    del configuration["metadata"]["resourceVersion"]
    before, since = failed_calls(plane), plane.audit.offset()
    with Load(plane, BUSY) as load:
        plane.kubectl("replace", "-f", "-", input=json.dumps(configuration))
        wait_for(lambda: settled(plane), what="the bundle to be back")
        load.wait_for(100)
        failures, failed = load.failures.total(), failed_calls(plane)
        load.wait_for(200)
    seconds = repaired_after(plane, since)
    for name, value in (("seconds", seconds), ("failed calls", failed - before), ("failed writes", failures)):
        record_property(name, value)
    print(f"\nmended after {seconds:.3f} s; {failed - before:.0f} calls and {failures} writes failed meanwhile")
    assert seconds < 2
    assert load.failures.total() == failures
    assert failed_calls(plane) == failed


def repaired_after(plane: ControlPlane, since: int) -> float:
    """Read from the audit log how long the API server had a configuration without a bundle, in seconds."""
    events = list(plane.audit.events(since=since, resource="mutatingwebhookconfigurations"))
    (broken,) = [event for event in events if event.verb == "update"]
    mended = next(event for event in events if event.verb == "patch" and event.response_status.code == 200)
    return (moment(mended) - moment(broken)).total_seconds()


def moment(event: AuditEvent) -> datetime:
    """When a request was answered."""
    return datetime.fromisoformat(event.stage_timestamp)


def test_the_status_tells_what_is_wrong(plane: ControlPlane, installation: Installation) -> None:
    """All is well: exit code 0. A bundle is missing and no controller is there: 1, and the tree says so."""
    wait_for(lambda: settled(plane), what="one CA")
    fine = certs(installation, "status")
    assert fine.returncode == 0
    assert "current CA" in fine.stdout
    assert fine.stdout.count("127.0.0.1:") == 3
    frozen = [controller.process for controller in installation.controllers]
    try:
        for process in frozen:
            process.freeze()
        remove = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
        patch = ("--type=json", "--patch", json.dumps(remove))
        plane.kubectl("patch", "validatingwebhookconfiguration", "rollonce", *patch)
        wrong = certs(installation, "status", check=False)
        assert wrong.returncode == 1
        assert "its caBundle is empty, so each call fails" in wrong.stdout
        assert wrong.stderr == ""
    finally:
        for process in frozen:
            process.thaw()
    wait_for(lambda: settled(plane), what="the bundle to be back")


def test_the_metrics_tell_what_ends_when(installation: Installation) -> None:
    """Seconds to the end of the leaf and the CA, and whether the bundle is published; only the leader tells of it."""
    for replica in installation.replicas:
        assert 0 < replica.metric("rollonce_certificate_remaining_seconds", certificate="leaf") <= LEAF_SECONDS
    leader = max(installation.controllers, key=lambda one: one.metric("rollonce_leader"))
    wait_for(lambda: leader.metric("rollonce_certificate_bundle_published") == 1)
    assert 8000 * 3600 < leader.metric("rollonce_certificate_remaining_seconds", certificate="ca") <= 8760 * 3600
    for other in installation.controllers:
        if other is not leader:
            assert other.metric("rollonce_certificate_bundle_published") == 0


def test_another_controller_takes_over(plane: ControlPlane, installation: Installation) -> None:
    """The leader ends and gives up its Lease; the other mends what is emptied afterwards."""
    leader = max(installation.controllers, key=lambda one: one.metric("rollonce_leader"))
    assert leader.process.terminate() == 0
    try:
        (other,) = [one for one in installation.controllers if one is not leader]
        wait_for(lambda: other.metric("rollonce_leader") == 1, what="the other to lead")
        remove = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
        patch = ("--type=json", "--patch", json.dumps(remove))
        plane.kubectl("patch", "validatingwebhookconfiguration", "rollonce", *patch)
        wait_for(lambda: settled(plane), what="the bundle to be back")
    finally:
        leader.process.start()


@pytest.mark.usefixtures("installation")
@pytest.mark.parametrize("account", ["rollonce", "rollonce-controller"])
def test_the_rights_of_the_manifests_are_enough(plane: ControlPlane, account: str) -> None:
    """In all of the above, nothing that a program asked for was forbidden."""
    events = list(plane.audit.events(user=f"system:serviceaccount:{HOME}:{account}"))
    assert events
    assert {f"{event.verb} {event.request_uri}" for event in events if event.response_status.code == 403} == set()


def test_nothing_of_a_key_is_logged(installation: Installation) -> None:
    """No program wrote anything that looks like a private key."""
    for program in (*installation.replicas, *installation.controllers):
        assert "PRIVATE KEY" not in program.process.log.read_text()
