"""The loops with a real API server: they continue after errors, and no call fails while they run."""

import asyncio
import json
from datetime import timedelta
from ipaddress import ip_address

import pytest
from aiohttp import web

from certs.bundle import parse_bundle
from certs.errors import ApiUnavailableError
from certs.injector import Injector, Target
from certs.leaf_renewer import LeafRenewer, RenewalResult
from certs.names import ServingNames
from certs.pair_reloader import PairReloader
from certs.pair_sources import SecretSource
from certs.pem import KeyPair, encode_certificates
from certs.rotation_plan import RotationSettings, WaitUntil
from certs.rotator import Progress, Rotator, request_authority
from certs.secret_store import SecretStore
from certs.tls import ServerTls
from tests.certs.clocks import ManualClock
from tests.certs.cluster import RealApi, bundles, configuration, connected, service, webhook
from tests.certs.programs import SECRET, renewer, rotator
from tests.certs.samples import NAMES, authority, identities, pair
from tests.controlplane import ControlPlane
from webhook.runtime.clock import Clock

pytestmark = pytest.mark.cluster

QUICK = RotationSettings(
    ServingNames("rollonce", "prod", hosts=("localhost",), addresses=(ip_address("127.0.0.1"),)),
    ca_lifetime=timedelta(hours=1),
    leaf_lifetime=timedelta(seconds=8),
    settle=timedelta(seconds=2),
    margin=timedelta(seconds=1),
)


async def test_the_loops_continue_after_errors(plane: ControlPlane, api: RealApi, namespace: str, name: str) -> None:
    """They report each pass, wait after failures, and end only when they are cancelled."""
    plane.apply([configuration("Validating", name, webhook("a.b.c", client=service("prod"), namespace=name))])
    broken = 3

    class Flaky(RealApi):
        async def get(self, path: str) -> tuple[int, bytes]:
            nonlocal broken
            if broken:
                broken -= 1
                raise ApiUnavailableError("unavailable")
            return await super().get(path)

    clock, reports = ManualClock(), asyncio.Queue[Progress | RenewalResult]()
    flaky = Flaky(api.session, api.url)
    controller = rotator(flaky, namespace, name, clock)
    replica = renewer(flaky, namespace, clock, ServerTls(), lifetime=timedelta(minutes=9))
    controller.wake()
    replica.wake()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(program.run(report=reports.put_nowait)) for program in (controller, replica)]
        failed, waited, renewed = 0, 0, 0
        async with asyncio.timeout(60):
            while failed < 3 or waited < 3 or renewed < 2:
                match await reports.get():
                    case Progress(error=None, step=WaitUntil()):
                        waited += 1
                        controller.wake()
                    case RenewalResult(renewed=True):
                        renewed += 1
                        replica.wake()
                    case Progress(error=error) | RenewalResult(error=error):
                        failed += error is not None
        for task in tasks:
            task.cancel()
    held = replica.held
    assert held
    published = parse_bundle(bundles(plane, "validating", name)["a.b.c"], what="caBundle")
    assert held.authority in identities(published)


async def test_a_provided_secret_is_served(plane: ControlPlane, api: RealApi, namespace: str) -> None:
    """A Secret as cert-manager writes it: missing, incomplete, renewed, forbidden."""
    clock, made = ManualClock(), list[KeyPair]()
    ca = authority(now=clock.moment)
    source = SecretSource(api, namespace=namespace, name="provided")
    reloader = PairReloader(source, server_name=NAMES.api_server_name, deliver=made.append, clock=clock)
    assert "does not exist" in str((await reloader.refresh()).error)
    plane.kubectl("create", "secret", "generic", "provided", f"--namespace={namespace}", "--from-literal=tls.crt=x")
    assert "no tls.crt or no tls.key" in str((await reloader.refresh()).error)
    for _ in range(2):
        fresh = pair(ca, now=clock.moment)
        data = {"tls.crt": fresh.chain_pem.decode(), "tls.key": fresh.key_pem.decode()}
        patch = json.dumps({"stringData": data | {"ca.crt": encode_certificates((ca.certificate,)).decode()}})
        plane.kubectl("patch", "secret", "provided", f"--namespace={namespace}", f"--patch={patch}")
        found = await reloader.refresh()
        assert (found.renewed, found.error, found.warning) == (True, None, None)
        assert made[-1].chain == fresh.chain
    kubeconfig = plane.kubeconfig_for("default", namespace).read_text()
    async with connected(plane, kubeconfig) as stranger:
        forbidden = PairReloader(
            SecretSource(stranger, namespace=namespace, name="provided"),
            server_name="x",
            deliver=made.append,
            clock=clock,
        )
        assert "answered 403" in str((await forbidden.refresh()).error)


async def test_the_api_server_never_sees_a_certificate_it_does_not_trust(
    plane: ControlPlane, api: RealApi, namespace: str, name: str
) -> None:
    """Go verifies the certificate at each call while the CA changes once and the leaf several times: no call fails."""
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
        # Each call makes a handshake, so each sees the present certificate.
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

    store = SecretStore(api, namespace=namespace, name=SECRET)
    target = Target("prod", "rollonce", validating=(name,), url_prefix=url)
    replica = LeafRenewer(store, QUICK.names, lifetime=QUICK.leaf_lifetime, deliver=tls.load, clock=Clock())
    controller = Rotator(store, Injector(api, target), QUICK, clock=Clock())
    path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
    body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}}).encode()

    async def call() -> str:
        status, answer = await api.request("POST", path, body, "application/json")
        return "created" if status == 201 else answer.decode()

    async def reached() -> None:
        # Until the API server has read the configuration, it admits objects without a call.
        while not calls:
            await call()

    authorities, leaves, renewals = set[str](), 0, asyncio.Queue[RenewalResult]()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(controller.run(report=lambda _: None)),
            group.create_task(replica.run(report=renewals.put_nowait)),
        ]
        async with asyncio.timeout(120):
            await reached()
            asked = await request_authority(store, QUICK, clock=Clock())
            controller.wake()
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
