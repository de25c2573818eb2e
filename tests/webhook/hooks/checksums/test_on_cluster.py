"""What kubectl does to workloads, with this webhook called by a real API server and pods run by kwok."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from certs.authority import issue_leaf, new_authority
from certs.names import ServingNames
from certs.pem import encode_certificates
from tests.controlplane import ControlPlane
from tests.controlplane.commands import Result
from tests.controlplane.kubeconfig import write_private
from tests.webhook.hooks.checksums.conftest import checksum_hooks
from webhook.admission.registration import NAMESPACE_NAME_LABEL, Deployment, UrlEndpoint, configurations
from webhook.clients.api import KubernetesApi
from webhook.hooks.checksums import RESOURCES, ChecksumSettings
from webhook.hooks.checksums.core.facts import MissingPolicy
from webhook.hooks.checksums.core.keys import HELD, SECRETS
from webhook.hooks.checksums.core.messages import RESUMED_BY_HAND, UNDO_CHANGES_NOTHING
from webhook.hooks.checksums.registration import registrations
from webhook.metrics import ServerMetrics
from webhook.server.http import AdmissionEndpoint, Limits
from webhook.server.runner import TlsPort, listen
from webhook.values import Address

KEY = "checksum/secret.db"
NAMES = ServingNames("rollonce", "rollonce", addresses=(ip_address("127.0.0.1"),))


@dataclass
class Cluster:
    """A namespace whose workloads are sent to the webhook.

    Attributes:
        plane: The control plane.
        namespace: The namespace.
        settings: The webhook's, which a test may change.
    """

    plane: ControlPlane
    namespace: str
    settings: ChecksumSettings

    async def kubectl(self, *arguments: str, tree: Any = None, check: bool = True) -> Result:
        """Run the real kubectl in the namespace, without keeping the webhook from answering."""
        text = None if tree is None else json.dumps(tree)
        return await asyncio.to_thread(
            self.plane.kubectl, *arguments, f"--namespace={self.namespace}", input=text, check=check
        )

    async def apply(self, tree: Any, *arguments: str, check: bool = True) -> Result:
        """Apply an object."""
        return await self.kubectl("apply", "-f", "-", *arguments, tree=tree, check=check)

    async def secret(self, password: str) -> None:
        """Create or change the Secret `db`."""
        await self.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": password}}
        )

    async def get(self, kind: str = "deployment") -> dict[str, Any]:
        """The workload `shop`."""
        found: dict[str, Any] = json.loads((await self.kubectl("get", kind, "shop", "-o", "json")).stdout)
        return found

    async def checksum(self) -> str | None:
        """What its pod template carries."""
        annotations = (await self.get())["spec"]["template"]["metadata"].get("annotations") or {}
        value: str | None = annotations.get(KEY)
        return value

    async def replica_sets(self) -> int:
        """How many there are."""
        return len(json.loads((await self.kubectl("get", "replicasets", "-o", "json")).stdout)["items"])

    async def rolled_out(self) -> int:
        """Wait for the rollout, and count the ReplicaSets."""
        await self.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
        return await self.replica_sets()


@pytest.fixture
async def cluster(plane: ControlPlane, namespace: str, api: KubernetesApi, tmp_path: Path) -> AsyncIterator[Cluster]:
    """The webhook, served in this process and registered for one namespace."""
    made = Cluster(plane, namespace, ChecksumSettings())
    now = datetime.now(UTC)
    authority = new_authority(NAMES, now=now, lifetime=timedelta(days=1))
    pair = issue_leaf(authority, NAMES, now=now, lifetime=timedelta(hours=1))
    (tmp_path / "tls.crt").write_bytes(pair.chain_pem)
    key = write_private(tmp_path / "tls.key", pair.key_pem.decode())
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "tls.crt", key)
    endpoint = AdmissionEndpoint(
        checksum_hooks(api, lambda: made.settings),
        limits=Limits(),
        metrics=ServerMetrics(CollectorRegistry()),
        log=structlog.get_logger(),
    )
    listener = await listen(
        endpoint.application(), Address("127.0.0.1", 0), tls=TlsPort(tls, frozenset()), setting="--listen"
    )
    bundle = base64.b64encode(encode_certificates((authority.certificate,))).decode()
    (document,) = configurations(
        registrations(RESOURCES),
        Deployment(UrlEndpoint(f"https://127.0.0.1:{listener.port}"), bundle, configuration_name=namespace),
    )
    for webhook in document["webhooks"]:
        webhook["namespaceSelector"] = {"matchLabels": {NAMESPACE_NAME_LABEL: namespace}}
        # A call that fails shall fail the test.
        webhook["failurePolicy"] = "Fail"
    await made.apply(document)
    await _wait_until_called(made)
    yield made
    await made.kubectl("delete", "mutatingwebhookconfiguration", namespace)
    await listener.close()


async def _wait_until_called(cluster: Cluster) -> None:
    """The API server learns of a new configuration by a watch."""
    async with asyncio.timeout(30):
        while "does not exist" not in (await cluster.apply(shop(), "--dry-run=server")).stderr:
            pass


def shop(kind: str = "Deployment", *, image: str = "shop:1", **spec: Any) -> dict[str, Any]:
    """A workload that depends on the Secret `db`."""
    labels = {"app": "shop"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "shop", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "shop", "annotations": {SECRETS: "db"}},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


class TestHold:
    """A Deployment that comes before its Secret."""

    @pytest.fixture(autouse=True)
    def hold(self, cluster: Cluster) -> None:
        """The policy of these tests."""
        cluster.settings = ChecksumSettings(missing=MissingPolicy.HOLD)

    async def test_exactly_one_replica_set_ever_exists(self, cluster: Cluster) -> None:
        """Created paused, it is released with its checksum in one write once the Secret is there."""
        created = await cluster.apply(shop())
        assert "Kept paused until there is Secret" in created.stderr
        held = await cluster.get()
        assert held["spec"]["paused"] is True
        assert held["metadata"]["annotations"][HELD] == "waiting for secret/db"
        assert (
            await cluster.kubectl("rollout", "status", "deployment/shop", "--timeout=1s", check=False)
        ).returncode != 0
        assert await cluster.replica_sets() == 0
        await cluster.secret("one")
        await cluster.kubectl("label", "deployment", "shop", "touched=yes")
        assert await cluster.rolled_out() == 1
        assert await cluster.checksum() is not None
        assert HELD not in (await cluster.get())["metadata"]["annotations"]

    @pytest.mark.parametrize("mode", [(), ("--server-side",)])
    async def test_applying_it_again_changes_nothing(self, cluster: Cluster, mode: tuple[str, ...]) -> None:
        """It stays held, its generation stays, and `kubectl diff` is clean."""
        await cluster.apply(shop(), *mode)
        before = await cluster.get()
        await cluster.apply(shop(), *mode)
        after = await cluster.get()
        assert after["spec"]["paused"] is True
        assert after["metadata"]["generation"] == before["metadata"]["generation"]
        assert (await cluster.kubectl("diff", "-f", "-", *mode, tree=shop(), check=False)).returncode == 0

    async def test_resuming_by_hand_starts_it(self, cluster: Cluster) -> None:
        """With a Warning, and it is not paused again."""
        await cluster.apply(shop())
        resumed = await cluster.kubectl("rollout", "resume", "deployment/shop")
        assert RESUMED_BY_HAND in resumed.stderr
        assert await cluster.rolled_out() == 1
        await cluster.kubectl("label", "deployment", "shop", "touched=yes")
        assert "paused" not in (await cluster.get())["spec"]

    async def test_opting_out_starts_it(self, cluster: Cluster) -> None:
        """Nothing is waited for any more."""
        await cluster.apply(shop())
        await cluster.kubectl("annotate", "deployment", "shop", f"{SECRETS}-")
        assert await cluster.rolled_out() == 1

    async def test_a_pause_of_the_authors_own_stays(self, cluster: Cluster) -> None:
        """Also when the Secret is there."""
        await cluster.apply(shop(paused=True))
        await cluster.secret("one")
        await cluster.kubectl("label", "deployment", "shop", "touched=yes")
        stored = await cluster.get()
        assert stored["spec"]["paused"] is True
        assert HELD not in stored["metadata"]["annotations"]

    @pytest.mark.parametrize("mode", [(), ("--server-side",)])
    async def test_a_manifest_that_says_not_paused_is_refused(self, cluster: Cluster, mode: tuple[str, ...]) -> None:
        """Its next apply would end the hold; that is seen for both ways of applying."""
        refused = await cluster.apply(shop(paused=False), *mode, check=False)
        assert refused.returncode != 0
        assert "the manifest says paused: false" in refused.stderr
        await cluster.secret("one")
        await cluster.apply(shop(paused=False), *mode)
        assert await cluster.rolled_out() == 1

    @pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
    async def test_kinds_that_cannot_pause_are_refused(self, cluster: Cluster, kind: str) -> None:
        """And admitted with their checksum when the Secret is there."""
        refused = await cluster.apply(shop(kind), check=False)
        assert "cannot be held until it does" in refused.stderr
        await cluster.secret("one")
        await cluster.apply(shop(kind))
        stored = await cluster.get(kind.lower())
        assert KEY in stored["spec"]["template"]["metadata"]["annotations"]


class TestDeny:
    """Nothing is stored without its objects."""

    async def test_the_client_reads_why(self, cluster: Cluster) -> None:
        """What is missing, and which word is wrong."""
        cluster.settings = ChecksumSettings(missing=MissingPolicy.DENY)
        refused = await cluster.apply(shop(), check=False)
        assert "(Forbidden)" in refused.stderr
        assert 'Secret "db" does not exist (create it first).' in refused.stderr
        wrong = shop()
        wrong["metadata"]["annotations"][SECRETS] = "db, Db"
        refused = await cluster.apply(wrong, check=False)
        assert '"Db" is not a name that a Secret can have' in refused.stderr
        assert 'Secret "db" does not exist' in refused.stderr


class TestUndo:
    """`kubectl rollout undo`, which writes an earlier pod template and annotations."""

    async def test_of_checksums_only_says_that_it_changes_nothing(self, cluster: Cluster) -> None:
        """The current checksum stays, and no ReplicaSet is made or changed."""
        await cluster.secret("one")
        await cluster.apply(shop())
        await cluster.rolled_out()
        await cluster.secret("two")
        await cluster.kubectl("label", "deployment", "shop", "touched=yes")
        assert await cluster.rolled_out() == 2
        before = await cluster.checksum()
        undone = await cluster.kubectl("rollout", "undo", "deployment/shop")
        assert UNDO_CHANGES_NOTHING[:200] in undone.stderr
        assert await cluster.checksum() == before
        assert await cluster.rolled_out() == 2

    async def test_of_an_image_stays_current(self, cluster: Cluster) -> None:
        """The image goes back, the checksum does not."""
        await cluster.secret("one")
        await cluster.apply(shop())
        await cluster.rolled_out()
        await cluster.apply(shop(image="shop:2"))
        await cluster.rolled_out()
        before = await cluster.checksum()
        undone = await cluster.kubectl("rollout", "undo", "deployment/shop")
        assert undone.stderr == ""
        stored = await cluster.get()
        assert stored["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1"
        assert await cluster.checksum() == before

    async def test_to_before_opting_in_opts_out(self, cluster: Cluster) -> None:
        """A revision remembers the annotations of its time, and undo brings them back."""
        await cluster.secret("one")
        plain = shop()
        del plain["metadata"]["annotations"]
        await cluster.apply(plain)
        await cluster.rolled_out()
        await cluster.apply(shop())
        assert await cluster.checksum() is not None
        await cluster.rolled_out()
        await cluster.kubectl("rollout", "undo", "deployment/shop")
        assert await cluster.checksum() is None
        assert await cluster.rolled_out() == 2


async def test_replacing_keeps_checksums(cluster: Cluster) -> None:
    """The manifest as it was written has none; the write gets them back, and nothing rolls."""
    await cluster.secret("one")
    await cluster.apply(shop())
    await cluster.rolled_out()
    before = await cluster.get()
    await cluster.kubectl("replace", "-f", "-", tree=shop())
    assert (await cluster.get())["spec"] == before["spec"]
    assert await cluster.rolled_out() == 1


async def test_applying_twice_from_the_server_side_is_clean(cluster: Cluster) -> None:
    """No generation, no difference: GitOps tools see no drift."""
    await cluster.secret("one")
    await cluster.apply(shop(), "--server-side", "--field-manager=gitops")
    before = await cluster.get()
    await cluster.apply(shop(), "--server-side", "--field-manager=gitops")
    assert (await cluster.get())["metadata"]["generation"] == before["metadata"]["generation"] == 1
    clean = await cluster.kubectl(
        "diff", "--server-side", "--field-manager=gitops", "-f", "-", tree=shop(), check=False
    )
    assert clean.returncode == 0


async def test_an_object_that_comes_and_goes(cluster: Cluster) -> None:
    """Deleted: nothing rolls. Back with equal contents: nothing. With others: one rollout."""
    await cluster.secret("one")
    await cluster.apply(shop())
    await cluster.rolled_out()
    await cluster.kubectl("delete", "secret", "db")
    told = await cluster.kubectl("label", "deployment", "shop", "touched=once")
    assert "does not exist any more" in told.stderr
    await cluster.secret("one")
    await cluster.kubectl("label", "--overwrite", "deployment", "shop", "touched=twice")
    assert await cluster.rolled_out() == 1
    await cluster.secret("two")
    await cluster.kubectl("label", "--overwrite", "deployment", "shop", "touched=thrice")
    assert await cluster.rolled_out() == 2
