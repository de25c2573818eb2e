"""The loops against a real API server: from nothing, disturbed, and without a call that fails."""

import asyncio
import base64
import json
import random
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from aiohttp import web

from certs.bundle import check_leaf, parse_bundle
from certs.errors import ApiUnavailableError, ConflictError, SecretError
from certs.injector import Injector, Target
from certs.names import ServingNames
from certs.pem import KeyPair, encode_certificates
from certs.provided import PairKeeper, SecretSource
from certs.rotation import CreateAuthority, PublishBundle, RotationSettings, WaitUntil
from certs.rotator import Progress, Rotator, request_authority, request_leaves
from certs.secret_store import SecretStore
from certs.serving import LeafKeeper, Renewal
from certs.state import CaState
from certs.tls import ServerTls
from tests.certs.cluster import RealApi, bundles, configuration, connected, service, webhook
from tests.certs.samples import DAY, NAMES, authority, pair
from tests.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

SECRET = "rollonce-ca"
QUICK = RotationSettings(
    ServingNames("rollonce", "prod", hosts=("localhost",), addresses=(ip_address("127.0.0.1"),)),
    ca_lifetime=timedelta(hours=1),
    leaf_lifetime=timedelta(seconds=8),
    settle=timedelta(seconds=2),
    margin=timedelta(seconds=1),
)


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Time passes by sleeping, and others get their turn."""
        await asyncio.sleep(0.01)
        self.now += timedelta(seconds=seconds)


@pytest.fixture
async def api(plane: ControlPlane) -> AsyncIterator[RealApi]:
    """As the administrator."""
    async with connected(plane) as made:
        yield made


@pytest.fixture
def name(plane: ControlPlane) -> Iterator[str]:
    """A name for a webhook configuration, which is removed afterwards."""
    made = f"hooks-{uuid.uuid4().hex[:8]}"
    yield made
    plane.kubectl("delete", "validatingwebhookconfiguration", made, "--ignore-not-found")


def rotator(api: RealApi, namespace: str, name: str, clock: Clock) -> Rotator:
    """One controller's."""
    store = SecretStore(api, namespace=namespace, name=SECRET)
    injector = Injector(api, Target("prod", "rollonce", validating=(name,)))
    return Rotator(store, injector, RotationSettings(NAMES), clock=clock)


def keeper(api: RealApi, namespace: str, clock: Clock, tls: ServerTls, *, lifetime: timedelta = DAY) -> LeafKeeper:
    """One replica's."""
    store = SecretStore(api, namespace=namespace, name=SECRET)
    return LeafKeeper(store, NAMES, lifetime=lifetime, deliver=tls.load, clock=clock)


async def settle(one: Rotator, clock: Clock, *, for_: timedelta = timedelta()) -> None:
    """Steps until there is only waiting to do, and through waits up to a time."""
    end = clock.now + for_
    while True:
        step = (await one.advance()).step
        if isinstance(step, WaitUntil):
            if step.moment > end:
                return
            clock.now = step.moment


async def test_from_nothing_to_a_trusted_leaf_and_through_a_rotation(
    plane: ControlPlane, api: RealApi, namespace: str, name: str
) -> None:
    """The first CA, its bundle, a leaf by it; a year later the next; at each look the leaf is trusted."""
    plane.apply([configuration("Validating", name, webhook("a.b.c", client=service("prod"), namespace=name))])
    clock, tls = Clock(), ServerTls()
    one, replica = rotator(api, namespace, name, clock), keeper(api, namespace, clock, tls)
    nothing = await replica.refresh()
    assert isinstance(nothing.error, SecretError)
    assert nothing.held is None
    await settle(one, clock)
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
            check_leaf(renewal.held.pair.chain, published, server_name=NAMES.api_server_name, now=clock.now)
            if len(published.certificates) == 1:
                break
        clock.now += timedelta(hours=16)
        await settle(one, clock)
    assert len(seen) == 2
    assert tls.is_loaded


async def test_two_that_start_at_once_make_one_authority(api: RealApi, namespace: str, name: str) -> None:
    """The one that comes second meets a conflict, and goes on with the other's."""
    clock = Clock()
    some = [rotator(api, namespace, name, clock) for _ in range(4)]
    results = await asyncio.gather(*(one.advance() for one in some), return_exceptions=True)
    made = [r for r in results if isinstance(r, Progress) and isinstance(r.step, CreateAuthority)]
    assert len(made) == 1
    assert all(isinstance(r, Progress | ConflictError) for r in results)


async def test_a_lost_or_damaged_secret_fails_no_call(
    plane: ControlPlane, api: RealApi, namespace: str, name: str
) -> None:
    """The old CA stays trusted while its leaves live, and the new one signs only once it is trusted."""
    plane.apply([configuration("Validating", name, webhook("a.b.c", client=service("prod"), namespace=name))])
    clock = Clock()
    one, replica = rotator(api, namespace, name, clock), keeper(api, namespace, clock, ServerTls())

    async def trusted() -> str:
        held = (await replica.refresh()).held
        assert held
        published = parse_bundle(bundles(plane, "validating", name)["a.b.c"], what="caBundle")
        check_leaf(held.pair.chain, published, server_name=NAMES.api_server_name, now=clock.now)
        return held.authority

    await settle(one, clock)
    first = await trusted()
    plane.kubectl("delete", "secret", SECRET, f"--namespace={namespace}")
    assert await trusted() == first
    while not isinstance((await one.advance()).step, WaitUntil):
        assert await trusted() == first
    await settle(one, clock, for_=timedelta(minutes=5))
    second = await trusted()
    assert second != first
    patch = '--patch={"data": {"ca.key": "eA=="}}'
    plane.kubectl("patch", "secret", SECRET, f"--namespace={namespace}", patch)
    assert await trusted() == second
    progress = await one.advance()
    assert isinstance(progress.problem, SecretError)
    await settle(one, clock, for_=2 * DAY)
    assert await trusted() not in (first, second)
    assert len(parse_bundle(bundles(plane, "validating", name)["a.b.c"], what="caBundle").certificates) == 1


async def test_one_configuration_that_cannot_be_written_does_not_keep_another_from_it(
    plane: ControlPlane, api: RealApi, namespace: str, name: str
) -> None:
    """Whose version has changed is for the next pass."""
    plane.apply([configuration("Validating", name, webhook("a.b.c", client=service("prod"), namespace=name))])
    plane.apply([configuration("Mutating", name, webhook("a.b.c", client=service("prod"), namespace=name))])
    store = SecretStore(api, namespace=namespace, name=SECRET)
    await store.write(CaState(authority(now=datetime.now(UTC))), over=await store.read())
    injector = Injector(api, Target("prod", "rollonce", mutating=(name,), validating=(name,)))
    one = Rotator(store, injector, RotationSettings(NAMES), clock=Clock())

    def meddle(method: str, path: str) -> None:
        if method == "PATCH" and "/mutating" in path:
            plane.kubectl("annotate", "mutatingwebhookconfiguration", name, "x=y")
            api.before = None

    api.before = meddle
    try:
        with pytest.raises(ConflictError):
            await one.advance()
        assert bundles(plane, "validating", name)["a.b.c"]
        assert not bundles(plane, "mutating", name)["a.b.c"]
        assert isinstance((await one.advance()).step, PublishBundle)
        assert bundles(plane, "mutating", name)["a.b.c"]
    finally:
        plane.kubectl("delete", "mutatingwebhookconfiguration", name)


async def test_an_operator_can_rotate(api: RealApi, namespace: str, name: str) -> None:
    """A CA where none is under way, leaves at any time; nothing where there is nothing yet."""
    clock = Clock()
    store, rules = SecretStore(api, namespace=namespace, name=SECRET), RotationSettings(NAMES)
    assert not await request_authority(store, rules, clock=clock)
    assert not await request_leaves(store, clock=clock)
    await settle(rotator(api, namespace, name, clock), clock)
    replica = keeper(api, namespace, clock, ServerTls())
    assert (await replica.refresh()).renewed
    clock.now += timedelta(seconds=1)
    assert await request_leaves(store, clock=clock)
    assert (await replica.refresh()).renewed
    assert not (await replica.refresh()).renewed
    assert await request_authority(store, rules, clock=clock)
    assert not await request_authority(store, rules, clock=clock)


async def test_an_operators_wish_outlasts_other_writers(api: RealApi, namespace: str, name: str) -> None:
    """It is written on top of what they wrote, a few times."""
    clock = Clock()
    await settle(rotator(api, namespace, name, clock), clock)
    other = SecretStore(RealApi(api.session, api.url), namespace=namespace, name=SECRET)
    rivals = 2

    class Rivals(RealApi):
        async def request(self, method: str, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
            nonlocal rivals
            if rivals:
                rivals -= 1
                clock.now += timedelta(seconds=1)
                assert await request_leaves(other, clock=clock)
            return await super().request(method, path, body, content_type)

    beset = SecretStore(Rivals(api.session, api.url), namespace=namespace, name=SECRET)
    assert await request_leaves(beset, clock=clock)
    rivals = 99
    with pytest.raises(ConflictError, match="changed 5 times"):
        await request_leaves(beset, clock=clock)


async def test_the_loops_go_on_after_errors(plane: ControlPlane, api: RealApi, namespace: str, name: str) -> None:
    """They report each pass, wait after failures, and end only when they are cancelled."""
    plane.apply([configuration("Validating", name, webhook("a.b.c", client=service("prod"), namespace=name))])
    broken = 3

    class Flaky(RealApi):
        async def get(self, path: str) -> tuple[int, bytes]:
            nonlocal broken
            if broken:
                broken -= 1
                raise ApiUnavailableError("not there")
            return await super().get(path)

    clock, reports = Clock(), asyncio.Queue[Progress | Renewal]()
    flaky = Flaky(api.session, api.url)
    one = rotator(flaky, namespace, name, clock)
    replica = keeper(flaky, namespace, clock, ServerTls(), lifetime=timedelta(minutes=9))
    one.wake()
    replica.wake()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(program.run(sleep=clock.sleep, chance=random.random, report=reports.put_nowait))
            for program in (one, replica)
        ]
        failed, waited, renewed = 0, 0, 0
        async with asyncio.timeout(60):
            while failed < 3 or waited < 3 or renewed < 2:
                match await reports.get():
                    case Progress(error=None, step=WaitUntil()):
                        waited += 1
                        one.wake()
                    case Renewal(renewed=True):
                        renewed += 1
                        replica.wake()
                    case Progress(error=error) | Renewal(error=error):
                        failed += error is not None
        for task in tasks:
            task.cancel()
    held = replica.held
    assert held
    published = parse_bundle(bundles(plane, "validating", name)["a.b.c"], what="caBundle")
    assert held.authority in published.identities


async def test_a_provided_secret_is_served(plane: ControlPlane, api: RealApi, namespace: str) -> None:
    """As cert-manager writes it; missing, incomplete, renewed, forbidden."""
    clock, made = Clock(), list[KeyPair]()
    ca = authority(now=clock.now)
    source = SecretSource(api, namespace=namespace, name="provided")
    keep = PairKeeper(source, server_name=NAMES.api_server_name, deliver=made.append, clock=clock)
    assert "does not exist" in str((await keep.refresh()).error)
    plane.kubectl("create", "secret", "generic", "provided", f"--namespace={namespace}", "--from-literal=tls.crt=x")
    assert "no tls.crt or no tls.key" in str((await keep.refresh()).error)
    for _ in range(2):
        fresh = pair(ca, now=clock.now)
        data = {"tls.crt": fresh.chain_pem.decode(), "tls.key": fresh.key_pem.decode()}
        patch = json.dumps({"stringData": data | {"ca.crt": encode_certificates((ca.certificate,)).decode()}})
        plane.kubectl("patch", "secret", "provided", f"--namespace={namespace}", f"--patch={patch}")
        found = await keep.refresh()
        assert (found.renewed, found.error, found.warning) == (True, None, None)
        assert made[-1].chain == fresh.chain
    kubeconfig = plane.kubeconfig_for("default", namespace).read_text()
    async with connected(plane, kubeconfig) as stranger:
        forbidden = PairKeeper(
            SecretSource(stranger, namespace=namespace, name="provided"),
            server_name="x",
            deliver=made.append,
            clock=clock,
        )
        assert "answered 403" in str((await forbidden.refresh()).error)


async def test_the_api_server_never_sees_a_certificate_it_does_not_trust(
    plane: ControlPlane, api: RealApi, namespace: str, name: str
) -> None:
    """Calls all the time, through a change of the CA and several of the leaf, by Go's verifier: none fails."""
    tls, calls = ServerTls(), 0

    async def review(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        uid = (await request.json())["request"]["uid"]
        answer = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": {"uid": uid, "allowed": True},
        }
        response = web.json_response(answer)
        # Each call makes a handshake, so that each shows the certificate of its moment.
        response.force_close()
        return response

    app = web.Application()
    app.router.add_post("/", review)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls.context)
    await site.start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}/"
    entry = webhook("a.b.c", client={"url": url}, namespace=namespace) | {"matchConditions": []}
    plane.apply([configuration("Validating", name, entry)])

    def now() -> datetime:
        return datetime.now(UTC)

    store = SecretStore(api, namespace=namespace, name=SECRET)
    target = Target("prod", "rollonce", validating=(name,), url_prefix=url)
    replica = LeafKeeper(store, QUICK.names, lifetime=QUICK.leaf_lifetime, deliver=tls.load, clock=now)
    one = Rotator(store, Injector(api, target), QUICK, clock=now)
    path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
    body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}}).encode()

    async def call() -> str:
        status, answer = await api.request("POST", path, body, "application/json")
        return "created" if status == 201 else answer.decode()

    async def reached() -> None:
        # Until the API server has seen the configuration it admits without a call.
        while not calls:
            await call()

    authorities, leaves, renewals = set[str](), 0, asyncio.Queue[Renewal]()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(one.run(sleep=asyncio.sleep, chance=random.random, report=lambda _: None)),
            group.create_task(replica.run(sleep=asyncio.sleep, chance=random.random, report=renewals.put_nowait)),
        ]
        async with asyncio.timeout(120):
            await reached()
            asked = await request_authority(store, QUICK, clock=now)
            one.wake()
            state = (await store.read()).state
            first = state.signer.identity if state else ""
            while leaves < 4 or authorities <= {first} or (await _places(store)) > 1:
                assert await call() == "created"
                while not renewals.empty():
                    renewal = renewals.get_nowait()
                    if renewal.renewed and renewal.held:
                        leaves += 1
                        authorities.add(renewal.held.authority)
        for task in tasks:
            task.cancel()
    assert asked
    assert len(authorities) == 2
    assert calls > 20
    await runner.cleanup()


async def _places(store: SecretStore) -> int:
    state = (await store.read()).state
    return len(state.bundle.certificates) if state else 0


async def test_a_replica_makes_the_first_ca_and_never_touches_another(
    plane: ControlPlane, api: RealApi, namespace: str, name: str
) -> None:
    """Of several at once one makes it; where there is a Secret, even an empty one, it is left to the rotator."""
    some = [rotator(api, namespace, name, Clock()) for _ in range(4)]
    results = await asyncio.gather(*(one.make_first() for one in some), return_exceptions=True)
    assert results.count(True) == 1
    assert all(result in (True, False) or isinstance(result, ConflictError) for result in results)
    assert not await some[0].make_first()
    plane.kubectl("patch", "secret", SECRET, f"--namespace={namespace}", "--type=merge", '--patch={"data": null}')
    assert not await some[0].make_first()
    assert (await SecretStore(api, namespace=namespace, name=SECRET).read()).state is None


async def test_a_first_ca_of_a_replica_does_not_displace_what_is_trusted(
    plane: ControlPlane, api: RealApi, namespace: str, name: str
) -> None:
    """Where the Secret was lost, what webhooks trust stays trusted, and the new CA waits until they trust it too."""
    entry = webhook("a.b.c", client=service("prod"), namespace=name)
    trusted = authority(now=datetime.now(UTC))
    entry["clientConfig"]["caBundle"] = base64.b64encode(encode_certificates((trusted.certificate,))).decode()
    plane.apply([configuration("Validating", name, entry)])
    assert await rotator(api, namespace, name, Clock()).make_first()
    state = (await SecretStore(api, namespace=namespace, name=SECRET).read()).state
    assert state
    assert state.current is None
    assert trusted.certificate in state.bundle.certificates
