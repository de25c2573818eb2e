"""Rotators and replicas for the tests with a real API server."""

from datetime import timedelta

from certs.injector import Injector, Target
from certs.leaf_renewer import LeafRenewer
from certs.rotation_plan import RotationSettings, WaitUntil
from certs.rotator import Rotator
from certs.secret_store import SecretStore
from certs.tls import ServerTls
from tests.certs.clocks import ManualClock
from tests.certs.cluster import RealApi
from tests.certs.samples import DAY, NAMES

SECRET = "rollonce-ca"


def rotator(api: RealApi, namespace: str, name: str, clock: ManualClock) -> Rotator:
    """Return the rotator of controller controller."""
    store = SecretStore(api, namespace=namespace, name=SECRET)
    injector = Injector(api, Target("prod", "rollonce", validating=(name,)))
    return Rotator(store, injector, RotationSettings(NAMES), clock=clock)


def renewer(
    api: RealApi, namespace: str, clock: ManualClock, tls: ServerTls, *, lifetime: timedelta = DAY
) -> LeafRenewer:
    """Return the renewer of controller replica."""
    store = SecretStore(api, namespace=namespace, name=SECRET)
    return LeafRenewer(store, NAMES, lifetime=lifetime, deliver=tls.load, clock=clock)


async def settle(controller: Rotator, clock: ManualClock, *, for_: timedelta = timedelta()) -> None:
    """Take steps until nothing is due before a time; move the clock over shorter waits."""
    end = clock.moment + for_
    while True:
        step = (await controller.advance()).step
        if isinstance(step, WaitUntil):
            if step.moment > end:
                return
            clock.moment = step.moment
