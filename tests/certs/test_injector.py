"""caBundles in the webhook configurations of a real API server."""

import json
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from certs.bundle import Bundle, bundle_of
from certs.errors import ApiRefusedError, ConflictError
from certs.injector import Injector, Kind, Target
from tests.certs.cluster import RealApi, bundles, configuration, connected, service, webhook
from tests.certs.samples import authority
from tests.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

OLD, NEW = bundle_of([authority().certificate]), bundle_of([authority().certificate, authority().certificate])


@pytest.fixture
async def api(plane: ControlPlane) -> AsyncIterator[RealApi]:
    """As the administrator."""
    async with connected(plane) as made:
        yield made


@pytest.fixture
def name(plane: ControlPlane) -> Iterator[str]:
    """A name for configurations, which are removed afterwards."""
    made = f"hooks-{uuid.uuid4().hex[:8]}"
    yield made
    for kind in ("mutating", "validating"):
        plane.kubectl("delete", f"{kind}webhookconfiguration", made, "--ignore-not-found")


async def always(bundle: Bundle) -> Bundle:
    """A source that does not change."""
    return bundle


def test_kinds_are_those_of_the_api() -> None:
    """Their names are used in paths."""
    assert [str(kind) for kind in Kind] == ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"]


async def test_only_our_webhooks_are_touched(plane: ControlPlane, api: RealApi, name: str) -> None:
    """By Service, or by `url` while developing; a second pass writes nothing."""
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
    assert await injector.inject(lambda: always(NEW)) == 2
    pem = NEW.pem
    assert list(bundles(plane, "mutating", name).values()) == [b"", pem, b"", pem, b""]
    assert list(bundles(plane, "validating", name).values()) == [b"", pem]
    assert await injector.inject(lambda: always(NEW)) == 0
    observed = await injector.observe()
    assert {w.bundle for one in observed for w in one.webhooks} == {NEW}


async def test_configurations_can_be_selected_by_label(plane: ControlPlane, api: RealApi, name: str) -> None:
    """Then their names need not be known."""
    entry = webhook("a.example.org", client=service("ns"), namespace=name)
    plane.apply([configuration("Mutating", name, entry, which=name), configuration("Validating", name, entry)])
    injector = Injector(api, Target("ns", "rollonce", label_selector=f"which in ({name})"))
    assert await injector.inject(lambda: always(NEW)) == 1
    assert bundles(plane, "validating", name) == {"a.example.org": b""}


async def test_a_bundle_is_written_on_top_of_what_was_read_only(plane: ControlPlane, api: RealApi, name: str) -> None:
    """Changed, reordered, or gone since: a conflict, and nothing is written."""
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


async def test_others_may_write_at_any_moment(plane: ControlPlane, api: RealApi, name: str) -> None:
    """Webhooks dropped, added and reordered between read and write: read again, and ask for the bundle again."""
    entries = [webhook(f"{n}.example.org", client=service("ns"), namespace=name) for n in "abcd"]
    plane.apply([configuration("Validating", name, *entries[:3])])
    changes = [
        configuration("Validating", name, *entries[2:], entries[0]),
        configuration("Validating", name, entries[1]),
    ]
    asked = []

    def meddle(method: str, _path: str) -> None:
        if method == "PATCH" and changes:
            plane.kubectl("replace", "--filename=-", input=_json(changes.pop(0)))

    async def latest() -> Bundle:
        asked.append(1)
        return OLD if len(asked) < 3 else NEW

    api.before = meddle
    injector = Injector(api, Target("ns", "rollonce", validating=(name,)))
    assert await injector.inject(latest) == 1
    assert bundles(plane, "validating", name) == {"b.example.org": NEW.pem}


async def test_a_fight_is_given_up(plane: ControlPlane, api: RealApi, name: str) -> None:
    """Whoever called tries again later."""
    entry = webhook("a.example.org", client=service("ns"), namespace=name)
    plane.apply([configuration("Validating", name, entry)])

    def meddle(method: str, _path: str) -> None:
        if method == "PATCH":
            plane.kubectl("annotate", "--overwrite", "validatingwebhookconfiguration", name, f"x={uuid.uuid4()}")

    api.before = meddle
    with pytest.raises(ConflictError, match="2 times in a row"):
        await Injector(api, Target("ns", "rollonce", validating=(name,))).inject(lambda: always(NEW), attempts=2)


async def test_a_gitops_apply_can_drop_and_restore_what_was_injected(
    plane: ControlPlane, api: RealApi, name: str
) -> None:
    """Server-side apply by another manager meets no field of ours: no conflict, and no entry that stays behind."""
    first, second = (webhook(f"{n}.example.org", client=service("ns"), namespace=name) for n in "ab")
    injector = Injector(api, Target("ns", "rollonce", validating=(name,)))
    apply = ("apply", "--server-side", "--field-manager=gitops", "--filename=-")
    plane.kubectl(*apply, input=_json(configuration("Validating", name, first, second)))
    await injector.inject(lambda: always(OLD))
    plane.kubectl(*apply, input=_json(configuration("Validating", name, first, second)))
    assert set(bundles(plane, "validating", name).values()) == {OLD.pem}
    plane.kubectl(*apply, input=_json(configuration("Validating", name, second)))
    await injector.inject(lambda: always(NEW))
    assert bundles(plane, "validating", name) == {"b.example.org": NEW.pem}
    plane.kubectl(*apply, input=_json(configuration("Validating", name, first, second)))
    await injector.inject(lambda: always(NEW))
    assert set(bundles(plane, "validating", name).values()) == {NEW.pem}


async def test_rubbish_in_a_bundle_is_replaced(plane: ControlPlane, api: RealApi, name: str) -> None:
    """It is nobody's certificate, though the API server takes it."""
    entry = webhook("a.example.org", client=service("ns") | {"caBundle": "cnViYmlzaA=="}, namespace=name)
    plane.apply([configuration("Validating", name, entry)])
    assert bundles(plane, "validating", name) == {"a.example.org": b"rubbish"}
    injector = Injector(api, Target("ns", "rollonce", validating=(name,)))
    (read,) = await injector.observe()
    assert read.webhooks[0].bundle == Bundle()
    await injector.inject(lambda: always(OLD))
    assert bundles(plane, "validating", name) == {"a.example.org": OLD.pem}


async def test_a_write_without_the_right_is_named(plane: ControlPlane, api: RealApi, namespace: str, name: str) -> None:
    """Reading alone is not enough in this mode."""
    entry = webhook("a.example.org", client=service("ns"), namespace=name)
    plane.apply([configuration("Validating", name, entry)])
    (read,) = await Injector(api, Target("ns", "rollonce", validating=(name,))).observe()
    async with connected(plane, plane.kubeconfig_for("default", namespace).read_text()) as stranger:
        with pytest.raises(ApiRefusedError, match=f"writing the caBundle of validatingwebhookconfigurations {name}"):
            await Injector(stranger, Target("ns", "rollonce", validating=(name,))).publish(NEW, read)


async def test_missing_rights_are_named(plane: ControlPlane, namespace: str, name: str) -> None:
    """With what was tried, for reading by name and by selector."""
    kubeconfig = plane.kubeconfig_for("default", namespace).read_text()
    async with connected(plane, kubeconfig) as stranger:
        with pytest.raises(ApiRefusedError, match=f"reading validatingwebhookconfigurations {name}"):
            await Injector(stranger, Target("ns", "rollonce", validating=(name,))).observe()
        with pytest.raises(ApiRefusedError, match="listing mutatingwebhookconfigurations"):
            await Injector(stranger, Target("ns", "rollonce", label_selector="a=b")).observe()


def _json(manifest: object) -> str:
    return json.dumps(manifest)
