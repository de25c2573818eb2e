"""Mirrors of collections on a real API server."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.controlplane import ControlPlane
from tests.webhook.controller.conftest import Connect, Network
from tests.webhook.controller.mirrors import following, partial, watching
from tests.webhook.controller.waiting import eventually
from webhook.clients.kubernetes import KubernetesClient
from webhook.controller.listing import Selection
from webhook.controller.objects import ObjectMeta, PartialObject


class ConfigMap(msgspec.Struct, frozen=True):
    """A ConfigMap with its data."""

    metadata: ObjectMeta
    data: dict[str, str] | None = None


class Data(msgspec.Struct, frozen=True):
    """Data of which `a` has to be a number: not every ConfigMap has that."""

    a: int | None = None


class Odd(msgspec.Struct, frozen=True):
    """A ConfigMap that cannot be understood where `a` is text."""

    metadata: ObjectMeta
    data: Data | None = None


class Named(msgspec.Struct, frozen=True):
    """An object's name without its version: no change of contents is one of it."""

    metadata: NameOnly


class NameOnly(ObjectMeta, frozen=True):
    """Metadata whose version does not count when two are compared."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NameOnly) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def secrets(namespace: str) -> str:
    """The path of a namespace's Secrets."""
    return f"/api/v1/namespaces/{namespace}/secrets"


def configmaps(namespace: str) -> str:
    """The path of a namespace's ConfigMaps."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


def secret(name: str, **data: str) -> dict[str, object]:
    """A Secret's manifest."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def configmap(name: str, **data: str) -> dict[str, object]:
    """A ConfigMap's manifest."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def apply(plane: ControlPlane, namespace: str, *objects: dict[str, object]) -> None:
    """Apply manifests while the event loop goes on."""
    await asyncio.to_thread(plane.apply, objects, namespace=namespace)


async def delete(plane: ControlPlane, namespace: str, *names: str) -> None:
    """Delete objects, each given as `kind/name`."""
    await asyncio.to_thread(plane.kubectl, "delete", *names, "-n", namespace)


async def test_what_is_there_and_what_happens(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """The first list, then creations, changes and deletions, each told once with what was and what is."""
    await apply(plane, namespace, secret("first", key="1"))
    async with watching(api, partial(secrets(namespace)), PartialObject) as watched:
        ((name, before, first),) = watched.told
        assert (name, before) == ("first", None)
        assert first is not None
        assert first.metadata.uid == plane.get("secret", "first", namespace)["metadata"]["uid"]
        await apply(plane, namespace, secret("second", key="1"))
        await apply(plane, namespace, secret("first", key="2"))
        await delete(plane, namespace, "secret/second")
        await eventually(lambda: len(watched.told) == 4)
        assert [(name, before is None, after is None) for name, before, after in watched.told] == [
            ("first", True, False),
            ("second", True, False),
            ("first", False, False),
            ("second", False, True),
        ]
        assert watched.told[2][1] == first
        assert watched.names == {"first"}
        assert watched.metric("rollonce_watch_objects", resource="secrets") == 1
        assert watched.metric("rollonce_watch_behind", resource="secrets") == 0
        assert watched.metric("rollonce_watch_lists_total", resource="secrets") == 1
    assert watched.metric("rollonce_watch_objects", resource="secrets") == 0


async def test_of_metadata_only_identity_and_version_stay(
    plane: ControlPlane, api: KubernetesClient, namespace: str
) -> None:
    """An applied Secret's annotations repeat its data: nothing of that is kept."""
    await apply(plane, namespace, secret("database", password="hunter2"))
    assert "hunter2" in plane.kubectl("get", "secret", "database", "-n", namespace, "-o", "yaml").stdout
    async with watching(api, partial(secrets(namespace)), PartialObject) as watched:
        await apply(plane, namespace, secret("database", password="hunter3"))
        await eventually(lambda: len(watched.told) == 2)
        assert "hunter" not in repr(watched.told)


async def test_full_objects_and_what_is_not_decoded(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """The caller's struct says what is kept, and so what is a change."""
    selection = Selection(configmaps(namespace), fields="metadata.name=settings")
    await apply(plane, namespace, configmap("settings", a="1"), configmap("other", a="1"))
    async with (
        watching(api, selection, ConfigMap) as watched,
        watching(api, selection, Named) as named,
    ):
        await apply(plane, namespace, configmap("settings", a="2"))
        await eventually(lambda: len(watched.told) == 2)
        await eventually(lambda: named.metric("rollonce_watch_events_total", resource="configmaps", type="MODIFIED"))
        assert [after and after.data for _, _, after in watched.told] == [{"a": "1"}, {"a": "2"}]
        assert len(named.told) == 1


async def test_selectors_are_obeyed(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """An object that loses its label is gone, as far as the mirror goes."""
    await apply(plane, namespace, configmap("plain"), configmap("labelled"))
    selection = Selection(configmaps(namespace), labels="team=shop", metadata_only=True)
    async with watching(api, selection, PartialObject) as watched:
        assert watched.names == set()
        await asyncio.to_thread(plane.kubectl, "label", "configmap", "labelled", "team=shop", "-n", namespace)
        await eventually(lambda: watched.names == {"labelled"})
        await asyncio.to_thread(plane.kubectl, "label", "configmap", "labelled", "team-", "-n", namespace)
        await eventually(lambda: watched.names == set())


async def test_a_long_list_comes_in_pages(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """Each object once, and what follows is heard from the moment of the list on."""
    await apply(plane, namespace, *(configmap(f"number-{number}") for number in range(23)))
    offset = plane.audit.offset()
    async with watching(api, partial(configmaps(namespace)), PartialObject, first_page=2) as watched:
        expected = {f"number-{number}" for number in range(23)} | {"kube-root-ca.crt"}
        assert watched.names == expected
        assert len(watched.told) == len(expected)
        await apply(plane, namespace, configmap("later"))
        await eventually(lambda: "later" in watched.names)
    lists = [event for event in plane.audit.events(since=offset, verb="list") if namespace in event.request_uri]
    limits = [event.request_uri.partition("limit=")[2].partition("&")[0] for event in lists]
    assert limits == ["2", "4", "8", "16"]


async def test_an_event_of_megabytes_is_read(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """As large as an object can be."""
    async with watching(api, Selection(configmaps(namespace)), ConfigMap) as watched:
        big = configmap("big", text="\n" * 1_000_000)
        await asyncio.to_thread(plane.kubectl, "create", "-n", namespace, "-f", "-", input=json.dumps(big))
        await eventually(lambda: "big" in watched.names)
        (text,) = (after.data["text"] for name, _, after in watched.told if name == "big" and after and after.data)
        assert len(text) == 1_000_000


async def test_an_odd_object_is_left_out_and_told(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """Of a custom resource, any field can be of any type: one such object hides no other."""
    await apply(plane, namespace, configmap("good"), configmap("odd", a="text"))
    with capture_logs() as logs:
        async with watching(api, Selection(configmaps(namespace)), Odd) as watched:
            assert watched.names == {"good", "kube-root-ca.crt"}
            await apply(plane, namespace, configmap("good", a="text"))
            await eventually(lambda: watched.names == {"kube-root-ca.crt"})
            await delete(plane, namespace, "configmap/odd")
            await apply(plane, namespace, configmap("good"))
            await eventually(lambda: watched.names == {"good", "kube-root-ca.crt"})
    assert {line["object"] for line in logs} == {f"{namespace}/odd", f"{namespace}/good"}


async def test_a_missing_right_is_told_in_full_and_tried_again(
    plane: ControlPlane, namespace: str, connect: Connect
) -> None:
    """The line names user, verb and resource; once granted, the mirror fills without a restart."""
    kubeconfig = await asyncio.to_thread(plane.kubeconfig_for, "default", namespace)
    await apply(plane, namespace, secret("database"))
    with capture_logs() as logs:
        async with following(await connect(kubeconfig), partial(secrets(namespace)), PartialObject) as watched:
            await eventually(lambda: logs)
            assert not watched.mirror.synced.is_set()
            role = ("--verb=list", "--verb=watch", "--resource=secrets")
            await asyncio.to_thread(plane.kubectl, "create", "role", "reader", *role, "-n", namespace)
            binding = ("--role=reader", f"--serviceaccount={namespace}:default")
            await asyncio.to_thread(plane.kubectl, "create", "rolebinding", "reader", *binding, "-n", namespace)
            await eventually(lambda: watched.names == {"database"})
            await eventually(lambda: logs[-1]["event"] == "The watch works again.")
    problem = str(logs[0]["problem"])
    assert f'User "system:serviceaccount:{namespace}:default" cannot list resource "secrets"' in problem
    assert len([line for line in logs if line.get("problem") == problem]) == 1


async def test_one_name_needs_a_right_to_that_name_only(plane: ControlPlane, namespace: str, connect: Connect) -> None:
    """A Role with `resourceNames` is enough, and no other name can be watched by it."""
    await apply(plane, namespace, secret("mine"), secret("theirs"))
    role = ("--verb=list", "--verb=watch", "--resource=secrets", "--resource-name=mine")
    await asyncio.to_thread(plane.kubectl, "create", "role", "reader", *role, "-n", namespace)
    binding = ("--role=reader", f"--serviceaccount={namespace}:default")
    await asyncio.to_thread(plane.kubectl, "create", "rolebinding", "reader", *binding, "-n", namespace)
    limited = await connect(await asyncio.to_thread(plane.kubeconfig_for, "default", namespace))
    async with (
        watching(limited, partial(secrets(namespace), name="mine"), PartialObject) as mine,
        following(limited, partial(secrets(namespace), name="theirs"), PartialObject) as theirs,
    ):
        await apply(plane, namespace, secret("mine", key="2"))
        await eventually(lambda: len(mine.told) == 2)
        await delete(plane, namespace, "secret/mine")
        await eventually(lambda: mine.names == set())
        await apply(plane, namespace, secret("mine"))
        await eventually(lambda: mine.names == {"mine"})
        await eventually(lambda: theirs.metric("rollonce_watch_failures_total", resource="secrets", reason="refused"))
        assert not theirs.told


async def test_a_connection_that_falls_silent_is_given_up(
    plane: ControlPlane, namespace: str, network: Network, connect: Connect
) -> None:
    """What happened meanwhile is heard when the network is back, without a new list."""
    through = await connect(network.kubeconfig)
    await apply(plane, namespace, configmap("leaving"))
    async with watching(through, partial(configmaps(namespace)), PartialObject, silence=1.0) as watched:
        await eventually(lambda: watched.metric("rollonce_watch_behind", resource="configmaps") == 0)
        network.process.freeze()
        await apply(plane, namespace, configmap("meanwhile"))
        await delete(plane, namespace, "configmap/leaving")
        await eventually(lambda: watched.metric("rollonce_watch_behind", resource="configmaps") == 1)
        network.process.thaw()
        await eventually(lambda: "meanwhile" in watched.names)
        gone = [name for name, _, after in watched.told if after is None]
        assert gone == ["leaving"]
        assert watched.metric("rollonce_watch_lists_total", resource="configmaps") == 1


async def test_it_can_be_run_again_and_catches_up(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """A mirror that was stopped, as when leadership is lost, goes on from where it was."""
    async with watching(api, partial(configmaps(namespace)), PartialObject) as watched:
        watched.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watched.task
        await apply(plane, namespace, configmap("meanwhile"))
        again = asyncio.create_task(watched.mirror.run())
        await eventually(lambda: "meanwhile" in watched.names)
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
        assert watched.metric("rollonce_watch_lists_total", resource="configmaps") == 1
        assert watched.metric("rollonce_watch_objects", resource="configmaps") == 0


async def test_the_end_of_a_watch_is_no_failure(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """The next one goes on from the last bookmark, without a list, and changes are heard."""
    offset = plane.audit.offset()

    def begun() -> int:
        return len(
            {event.audit_id for event in plane.audit.events(since=offset, verb="watch") if path in event.request_uri}
        )

    path = configmaps(namespace)
    with capture_logs() as logs:
        async with watching(api, partial(path), PartialObject, watch_seconds=4.0) as watched:
            # Without any change the API server has no newer version to tell.
            await apply(plane, namespace, configmap("sooner"))
            bookmarks = {"resource": "configmaps", "type": "BOOKMARK"}
            await eventually(lambda: watched.metric("rollonce_watch_events_total", **bookmarks))
            await eventually(lambda: begun() >= 3)
            await apply(plane, namespace, configmap("later"))
            await eventually(lambda: "later" in watched.names)
            assert watched.metric("rollonce_watch_lists_total", resource="configmaps") == 1
    assert not logs


async def test_a_right_to_list_alone_is_told(plane: ControlPlane, namespace: str, connect: Connect) -> None:
    """What there is is known, and the line says that changes are not heard, and why."""
    await apply(plane, namespace, configmap("settings"))
    await asyncio.to_thread(
        plane.kubectl, "create", "role", "lister", "--verb=list", "--resource=configmaps", "-n", namespace
    )
    binding = ("--role=lister", f"--serviceaccount={namespace}:default")
    await asyncio.to_thread(plane.kubectl, "create", "rolebinding", "lister", *binding, "-n", namespace)
    limited = await connect(await asyncio.to_thread(plane.kubeconfig_for, "default", namespace))
    with capture_logs() as logs:
        async with watching(limited, partial(configmaps(namespace)), PartialObject) as watched:
            assert "settings" in watched.names
            await eventually(lambda: any("cannot watch resource" in str(line.get("problem")) for line in logs))
            refusals = {"resource": "configmaps", "reason": "refused"}
            await eventually(lambda: watched.metric("rollonce_watch_failures_total", **refusals) >= 3)
            assert watched.metric("rollonce_watch_behind", resource="configmaps") == 1
            assert watched.metric("rollonce_watch_lists_total", resource="configmaps") == 1
