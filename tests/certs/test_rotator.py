"""Rotators and replicas with a real API server: from the first start, and with faults."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta

import pytest

from certs.bundle import check_leaf, parse_bundle
from certs.ca_state import CaState
from certs.errors import ConflictError, SecretError
from certs.injector import Injector, Target
from certs.pem import encode_certificates
from certs.rotation_plan import CreateAuthority, PublishBundle, RotationSettings, WaitUntil
from certs.rotator import Progress, Rotator, request_authority, request_leaves
from certs.secret_store import SecretStore
from certs.tls import ServerTls
from tests.certs.clocks import ManualClock
from tests.certs.cluster import RealApi, bundles, configuration, service, webhook
from tests.certs.programs import SECRET, renewer, rotator, settle
from tests.certs.samples import DAY, NAMES, authority
from tests.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


async def test_from_nothing_to_a_trusted_leaf_and_through_a_rotation(
    plane: ControlPlane, api: RealApi, namespace: str, name: str
) -> None:
    """The first CA, its bundle and a leaf of it; a year later the next CA; the leaf is trusted all the time."""
    plane.apply([configuration("Validating", name, webhook("a.b.c", client=service("prod"), namespace=name))])
    clock, tls = ManualClock(), ServerTls()
    controller, replica = rotator(api, namespace, name, clock), renewer(api, namespace, clock, tls)
    nothing = await replica.refresh()
    assert isinstance(nothing.error, SecretError)
    assert nothing.held is None
    await settle(controller, clock)
    seen = set()
    for _ in range(600):
        renewal = await replica.refresh()
        assert renewal.error is None
        assert renewal.held
        seen.add(renewal.held.authority)
        published = (
            parse_bundle(bundles(plane, "validating", name)["a.b.c"], what="caBundle") if len(seen) > 1 else None
        )
        if published:
            check_leaf(renewal.held.pair.chain, published, server_name=NAMES.api_server_name, now=clock.moment)
            if len(published.certificates) == 1:
                break
        clock.moment += timedelta(hours=16)
        await settle(controller, clock)
    assert len(seen) == 2
    assert tls._serving


async def test_two_that_start_at_once_make_one_authority(api: RealApi, namespace: str, name: str) -> None:
    """The second one gets a conflict, and continues with the CA of the first."""
    clock = ManualClock()
    controllers = [rotator(api, namespace, name, clock) for _ in range(4)]
    results = await asyncio.gather(*(controller.advance() for controller in controllers), return_exceptions=True)
    made = [r for r in results if isinstance(r, Progress) and isinstance(r.step, CreateAuthority)]
    assert len(made) == 1
    assert all(isinstance(r, Progress | ConflictError) for r in results)


async def test_a_lost_or_damaged_secret_fails_no_call(
    plane: ControlPlane, api: RealApi, namespace: str, name: str
) -> None:
    """The old CA stays trusted while its leaves are valid, and the new one signs only once it is trusted."""
    plane.apply([configuration("Validating", name, webhook("a.b.c", client=service("prod"), namespace=name))])
    clock = ManualClock()
    controller, replica = rotator(api, namespace, name, clock), renewer(api, namespace, clock, ServerTls())

    async def trusted() -> str:
        held = (await replica.refresh()).held
        assert held
        published = parse_bundle(bundles(plane, "validating", name)["a.b.c"], what="caBundle")
        check_leaf(held.pair.chain, published, server_name=NAMES.api_server_name, now=clock.moment)
        return held.authority

    await settle(controller, clock)
    first = await trusted()
    plane.kubectl("delete", "secret", SECRET, f"--namespace={namespace}")
    assert await trusted() == first
    while not isinstance((await controller.advance()).step, WaitUntil):
        assert await trusted() == first
    await settle(controller, clock, for_=timedelta(minutes=5))
    second = await trusted()
    assert second != first
    patch = '--patch={"data": {"ca.key": "eA=="}}'
    plane.kubectl("patch", "secret", SECRET, f"--namespace={namespace}", patch)
    assert await trusted() == second
    progress = await controller.advance()
    assert isinstance(progress.problem, SecretError)
    await settle(controller, clock, for_=2 * DAY)
    assert await trusted() not in (first, second)
    assert len(parse_bundle(bundles(plane, "validating", name)["a.b.c"], what="caBundle").certificates) == 1


async def test_a_configuration_is_written_even_if_another_cannot_be(
    plane: ControlPlane, api: RealApi, namespace: str, name: str
) -> None:
    """The one whose version has changed is written at the next pass."""
    plane.apply([configuration("Validating", name, webhook("a.b.c", client=service("prod"), namespace=name))])
    plane.apply([configuration("Mutating", name, webhook("a.b.c", client=service("prod"), namespace=name))])
    store = SecretStore(api, namespace=namespace, name=SECRET)
    await store.write(CaState(authority(now=datetime.now(UTC))), over=await store.read())
    injector = Injector(api, Target("prod", "rollonce", mutating=(name,), validating=(name,)))
    controller = Rotator(store, injector, RotationSettings(NAMES), clock=ManualClock())

    def meddle(method: str, path: str) -> None:
        if method == "PATCH" and "/mutating" in path:
            plane.kubectl("annotate", "mutatingwebhookconfiguration", name, "x=y")
            api.before = None

    api.before = meddle
    with pytest.raises(ConflictError):
        await controller.advance()
    assert bundles(plane, "validating", name)["a.b.c"]
    assert not bundles(plane, "mutating", name)["a.b.c"]
    assert isinstance((await controller.advance()).step, PublishBundle)
    assert bundles(plane, "mutating", name)["a.b.c"]


async def test_a_rotation_can_be_requested(api: RealApi, namespace: str, name: str) -> None:
    """Of leaves at any time, of the CA if no rotation is under way, of nothing if there is no CA yet."""
    clock = ManualClock()
    store, rules = SecretStore(api, namespace=namespace, name=SECRET), RotationSettings(NAMES)
    assert not await request_authority(store, rules, clock=clock)
    assert not await request_leaves(store, clock=clock)
    await settle(rotator(api, namespace, name, clock), clock)
    replica = renewer(api, namespace, clock, ServerTls())
    assert (await replica.refresh()).renewed
    clock.moment += timedelta(seconds=1)
    assert await request_leaves(store, clock=clock)
    assert (await replica.refresh()).renewed
    assert not (await replica.refresh()).renewed
    assert await request_authority(store, rules, clock=clock)
    assert not await request_authority(store, rules, clock=clock)


async def test_a_request_is_repeated_if_another_writer_is_faster(api: RealApi, namespace: str, name: str) -> None:
    """It is written over what others wrote; after a few attempts it fails."""
    clock = ManualClock()
    await settle(rotator(api, namespace, name, clock), clock)
    other = SecretStore(RealApi(api.session, api.url), namespace=namespace, name=SECRET)
    rivals = 2

    class Rivals(RealApi):
        async def request(self, method: str, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
            nonlocal rivals
            if rivals:
                rivals -= 1
                clock.moment += timedelta(seconds=1)
                assert await request_leaves(other, clock=clock)
            return await super().request(method, path, body, content_type)

    contested = SecretStore(Rivals(api.session, api.url), namespace=namespace, name=SECRET)
    assert await request_leaves(contested, clock=clock)
    rivals = 99
    with pytest.raises(ConflictError, match="changed 5 times"):
        await request_leaves(contested, clock=clock)


async def test_a_replica_creates_the_first_ca_and_never_changes_another(
    plane: ControlPlane, api: RealApi, namespace: str, name: str
) -> None:
    """Of several at once one creates it; if there is a Secret, even an empty one, only the rotator changes it."""
    controllers = [rotator(api, namespace, name, ManualClock()) for _ in range(4)]
    results = await asyncio.gather(*(controller.make_first() for controller in controllers), return_exceptions=True)
    assert results.count(True) == 1
    assert all(result in (True, False) or isinstance(result, ConflictError) for result in results)
    assert not await controllers[0].make_first()
    plane.kubectl("patch", "secret", SECRET, f"--namespace={namespace}", "--type=merge", '--patch={"data": null}')
    assert not await controllers[0].make_first()
    assert (await SecretStore(api, namespace=namespace, name=SECRET).read()).state is None


async def test_a_first_ca_of_a_replica_keeps_the_trusted_ones(
    plane: ControlPlane, api: RealApi, namespace: str, name: str
) -> None:
    """If the Secret was lost, the CAs that webhooks trust stay trusted, and the new CA does not sign yet."""
    entry = webhook("a.b.c", client=service("prod"), namespace=name)
    trusted = authority(now=datetime.now(UTC))
    entry["clientConfig"]["caBundle"] = base64.b64encode(encode_certificates((trusted.certificate,))).decode()
    plane.apply([configuration("Validating", name, entry)])
    assert await rotator(api, namespace, name, ManualClock()).make_first()
    state = (await SecretStore(api, namespace=namespace, name=SECRET).read()).state
    assert state
    assert state.current is None
    assert trusted.certificate in state.bundle.certificates
