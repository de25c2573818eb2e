"""The caBundle in webhook configurations of a real API server."""

import json

import pytest

from certs.bundle import Bundle, bundle_of
from certs.errors import ApiRefusedError, ConflictError
from certs.injector import Injector, Kind, Target
from tests.certs.cluster import RealApi, bundles, configuration, connected, service, webhook
from tests.certs.samples import authority
from tests.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

OLD, NEW = bundle_of([authority().certificate]), bundle_of([authority().certificate, authority().certificate])


async def publish(injector: Injector, bundle: Bundle) -> int:
    """Write a bundle to all configurations, and return how many were written."""
    return sum([await injector.publish(bundle, found) for found in await injector.observe()])


def test_kinds_are_the_resources_of_the_api() -> None:
    """They are used in paths."""
    assert [str(kind) for kind in Kind] == ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"]


async def test_only_webhooks_of_this_installation_are_changed(plane: ControlPlane, api: RealApi, name: str) -> None:
    """They are recognized by Service or `url`; a second pass writes nothing."""
    entries = [
        webhook("a.example.org", client=service("other"), namespace=name),
        webhook("b.example.org", client=service("ns"), namespace=name),
        webhook("c.example.org", client=service("ns", "other"), namespace=name),
        webhook("d.example.org", client={"url": "https://127.0.0.1:9/x"}, namespace=name),
        webhook("e.example.org", client={"url": "https://127.0.0.1:8/x"}, namespace=name),
    ]
    plane.apply([configuration("Mutating", name, *entries), configuration("Validating", name, *entries[:2])])
    injector = Injector(
        api, Target("ns", "rollonce", (name,), (name, "does-not-exist"), url_prefix="https://127.0.0.1:9/")
    )
    assert await publish(injector, NEW) == 2
    pem = NEW.pem
    assert list(bundles(plane, "mutating", name).values()) == [b"", pem, b"", pem, b""]
    assert list(bundles(plane, "validating", name).values()) == [b"", pem]
    assert await publish(injector, NEW) == 0
    observed = await injector.observe()
    assert {w.bundle for found in observed for w in found.webhooks} == {NEW}


async def test_a_bundle_is_written_only_if_nothing_has_changed(plane: ControlPlane, api: RealApi, name: str) -> None:
    """If webhooks were changed, reordered or deleted since the read, it is a conflict, and nothing is written."""
    first, second = (webhook(f"{n}.example.org", client=service("ns"), namespace=name) for n in "ab")
    foreign = webhook("c.example.org", client=service("other"), namespace=name)
    plane.apply([configuration("Mutating", name, first, second)])
    injector = Injector(api, Target("ns", "rollonce", mutating=(name,)))
    (read,) = await injector.observe()
    plane.kubectl("replace", "--filename=-", input=_json(configuration("Mutating", name, foreign, second, first)))
    with pytest.raises(ConflictError, match="has changed"):
        await injector.publish(NEW, read)
    assert set(bundles(plane, "mutating", name).values()) == {b""}
    (read,) = await injector.observe()
    plane.kubectl("delete", "mutatingwebhookconfiguration", name)
    with pytest.raises(ConflictError):
        await injector.publish(NEW, read)
    assert await injector.observe() == ()


async def test_a_gitops_apply_can_remove_and_restore_webhooks(plane: ControlPlane, api: RealApi, name: str) -> None:
    """The injector owns no field: server-side apply has no conflict, and removes a webhook completely."""
    first, second = (webhook(f"{n}.example.org", client=service("ns"), namespace=name) for n in "ab")
    injector = Injector(api, Target("ns", "rollonce", validating=(name,)))
    apply = ("apply", "--server-side", "--field-manager=gitops", "--filename=-")
    plane.kubectl(*apply, input=_json(configuration("Validating", name, first, second)))
    await publish(injector, OLD)
    plane.kubectl(*apply, input=_json(configuration("Validating", name, first, second)))
    assert set(bundles(plane, "validating", name).values()) == {OLD.pem}
    plane.kubectl(*apply, input=_json(configuration("Validating", name, second)))
    await publish(injector, NEW)
    assert bundles(plane, "validating", name) == {"b.example.org": NEW.pem}
    plane.kubectl(*apply, input=_json(configuration("Validating", name, first, second)))
    await publish(injector, NEW)
    assert set(bundles(plane, "validating", name).values()) == {NEW.pem}


async def test_a_bundle_that_is_not_pem_is_replaced(plane: ControlPlane, api: RealApi, name: str) -> None:
    """The API server accepts any bytes; what is not a certificate counts as empty."""
    entry = webhook("a.example.org", client=service("ns") | {"caBundle": "cnViYmlzaA=="}, namespace=name)
    plane.apply([configuration("Validating", name, entry)])
    assert bundles(plane, "validating", name) == {"a.example.org": b"rubbish"}
    injector = Injector(api, Target("ns", "rollonce", validating=(name,)))
    (read,) = await injector.observe()
    assert read.webhooks[0].bundle == Bundle()
    await publish(injector, OLD)
    assert bundles(plane, "validating", name) == {"a.example.org": OLD.pem}


async def test_a_missing_right_to_write_is_named(plane: ControlPlane, api: RealApi, namespace: str, name: str) -> None:
    """The error names the configuration."""
    entry = webhook("a.example.org", client=service("ns"), namespace=name)
    plane.apply([configuration("Validating", name, entry)])
    (read,) = await Injector(api, Target("ns", "rollonce", validating=(name,))).observe()
    async with connected(plane, plane.kubeconfig_for("default", namespace).read_text()) as stranger:
        with pytest.raises(ApiRefusedError, match=f"writing the caBundle of validatingwebhookconfigurations {name}"):
            await Injector(stranger, Target("ns", "rollonce", validating=(name,))).publish(NEW, read)


async def test_a_missing_right_to_read_is_named(plane: ControlPlane, namespace: str, name: str) -> None:
    """The error names the configuration."""
    kubeconfig = plane.kubeconfig_for("default", namespace).read_text()
    async with connected(plane, kubeconfig) as stranger:
        with pytest.raises(ApiRefusedError, match=f"reading validatingwebhookconfigurations {name}"):
            await Injector(stranger, Target("ns", "rollonce", validating=(name,))).observe()


def _json(manifest: object) -> str:
    return json.dumps(manifest)
