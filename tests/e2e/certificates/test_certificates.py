"""Certificates are created, rotated, lost and damaged under the load of twenty writers: no call fails.

The API server counts the failures; it verifies every chain with Go.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial

import pytest

from certs.rotator import request_leaves
from certs.secret_store import SecretStore
from tests.certs.cluster import connected
from tests.controlplane import ControlPlane
from tests.controlplane.audit import AuditEvent
from tests.controlplane.polling import wait_for
from tests.e2e.certificates.helpers import BUSY, HOME, SECRET, certs, settled
from tests.e2e.load import Load, failed_calls, made_calls
from tests.rollonce import Installation
from webhook.runtime.clock import Clock

pytestmark = pytest.mark.cluster


def test_one_program_creates_the_ca(plane: ControlPlane, installation: Installation) -> None:
    """Of five programs that start at once one creates the CA, and all of them use it."""
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


@pytest.mark.parametrize("rotation", ["first", "second"])
def test_a_rotation_of_the_ca_fails_no_call(plane: ControlPlane, installation: Installation, rotation: str) -> None:
    """The next CA is created, published, confirmed and signs, and the old one is dropped, under load; then again."""
    before, calls = failed_calls(plane), made_calls(plane)
    old = wait_for(lambda: settled(plane), what="one CA")
    with Load(plane, BUSY) as load:
        output = certs(installation, "rotate", "--ca").stderr
        assert "Made the next CA" in output, rotation
        assert "Done: CA" in output
        assert "\x1b" not in output
        wait_for(lambda: settled(plane) not in (None, old), what="the old CA to be dropped")
        load.wait_for(100)
    assert load.failures == {}
    assert failed_calls(plane) == before
    assert made_calls(plane) >= calls + load.written


def test_a_rotation_continues_after_kill_9(plane: ControlPlane, installation: Installation) -> None:
    """Both controllers are killed while two CAs are trusted; the restarted ones finish, and no call fails."""
    old = wait_for(lambda: settled(plane), what="one CA")
    before = failed_calls(plane)
    with Load(plane, BUSY) as load, ThreadPoolExecutor(max_workers=1) as pool:
        rotation = pool.submit(certs, installation, "rotate", "--ca", check=False)
        wait_for(lambda: settled(plane) is None, what="two CAs to be trusted")
        for controller in installation.controllers:
            controller.process.kill()
        for controller in installation.controllers:
            controller.process.restart()
        wait_for(lambda: settled(plane) not in (None, old), 60, "the old CA to be dropped")
        assert rotation.result().returncode == 0
        load.wait_for(20)
    assert load.failures == {}
    assert failed_calls(plane) == before


def test_ten_rotations_of_leaves_fail_no_call(plane: ControlPlane, installation: Installation) -> None:
    """Each time every server signs a new leaf, while connections stay open and new ones are made."""

    async def request() -> None:
        async with connected(plane) as api:
            assert await request_leaves(SecretStore(api, namespace=HOME, name=SECRET), clock=Clock())

    def renewals() -> list[float]:
        return [replica.metric("rollonce_certificate_renewals_total") for replica in installation.replicas]

    def more(than: list[float]) -> bool:
        return all(new > old for new, old in zip(renewals(), than, strict=True))

    before = failed_calls(plane)
    with Load(plane, BUSY) as load:
        for _ in range(10):
            made = renewals()
            asyncio.run(request())
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
    """A new CA is created and signs, and the served certificates stay trusted."""
    old = wait_for(lambda: settled(plane), what="one CA")
    before = failed_calls(plane)
    with Load(plane, BUSY) as load:
        plane.kubectl(*harm, "-n", HOME)
        wait_for(lambda: settled(plane) not in (None, old), 40, "another CA alone")
        load.wait_for(100)
    assert load.failures == {}
    assert failed_calls(plane) == before


@pytest.mark.usefixtures("installation")
def test_an_emptied_configuration_is_repaired_at_once(
    plane: ControlPlane, record_property: Callable[[str, object], None]
) -> None:
    """A GitOps tool can do this: calls fail until the controller has repaired it, and not longer."""
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
    print(f"\nrepaired after {seconds:.3f} s; {failed - before:.0f} calls and {failures} writes failed meanwhile")
    assert seconds < 2
    assert load.failures.total() == failures
    assert failed_calls(plane) == failed


def repaired_after(plane: ControlPlane, since: int) -> float:
    """Return from the audit log how long the API server had a configuration without a bundle, in seconds."""
    events = list(plane.audit.events(since=since, resource="mutatingwebhookconfigurations"))
    (broken,) = [event for event in events if event.verb == "update"]
    repaired = next(event for event in events if event.verb == "patch" and event.response_status.code == 200)
    return (moment(repaired) - moment(broken)).total_seconds()


def moment(event: AuditEvent) -> datetime:
    """Return when a request was answered."""
    return datetime.fromisoformat(event.stage_timestamp)


def test_another_controller_takes_over(plane: ControlPlane, installation: Installation) -> None:
    """The leader stops and releases its Lease; the other repairs a bundle that is removed afterwards."""
    leader = max(installation.controllers, key=lambda controller: controller.metric("rollonce_leader"))
    assert leader.process.terminate() == 0
    try:
        (other,) = [controller for controller in installation.controllers if controller is not leader]
        wait_for(lambda: other.metric("rollonce_leader") == 1, what="the other to lead")
        remove = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
        patch = ("--type=json", "--patch", json.dumps(remove))
        plane.kubectl("patch", "validatingwebhookconfiguration", "rollonce", *patch)
        wait_for(lambda: settled(plane), what="the bundle to be back")
    finally:
        leader.process.start()
