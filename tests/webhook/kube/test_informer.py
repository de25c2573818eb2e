"""Informers over collections of a real API server."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.controlplane import ControlPlane
from tests.webhook.kube.conftest import Connect, Network
from tests.webhook.kube.informers import following, partial, watching
from tests.webhook.kube.waiting import eventually
from webhook.kube.client import KubernetesClient
from webhook.kube.listing import Selection
from webhook.kube.objects import ObjectMeta, PartialObject


class ConfigMap(msgspec.Struct, frozen=True):
    """A ConfigMap with its data."""

    metadata: ObjectMeta
    data: dict[str, str] | None = None


class Data(msgspec.Struct, frozen=True):
    """Data whose field `a` must be a number."""

    a: int | None = None


class NumericData(msgspec.Struct, frozen=True):
    """A ConfigMap that cannot be decoded if `a` is text."""

    metadata: ObjectMeta
    data: Data | None = None


class Named(msgspec.Struct, frozen=True):
    """An object with its name and without its version: two versions of it are equal."""

    metadata: NameOnly


class NameOnly(ObjectMeta, frozen=True):
    """Metadata that is compared without its version."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NameOnly) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def secrets(namespace: str) -> str:
    """Return the path of the Secrets of a namespace."""
    return f"/api/v1/namespaces/{namespace}/secrets"


def configmaps(namespace: str) -> str:
    """Return the path of the ConfigMaps of a namespace."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


def secret(name: str, **data: str) -> dict[str, object]:
    """Return the manifest of a Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def configmap(name: str, **data: str) -> dict[str, object]:
    """Return the manifest of a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def apply(plane: ControlPlane, namespace: str, *objects: dict[str, object]) -> None:
    """Apply manifests without blocking the event loop."""
    await asyncio.to_thread(plane.apply, objects, namespace=namespace)


async def delete(plane: ControlPlane, namespace: str, *names: str) -> None:
    """Delete objects, each given as `kind/name`, without blocking the event loop."""
    await asyncio.to_thread(plane.kubectl, "delete", *names, "-n", namespace)


async def test_the_first_list_and_later_events_are_reported(
    plane: ControlPlane, api: KubernetesClient, namespace: str
) -> None:
    """Listed objects, creations, changes and deletions are each reported once, with the object before and after."""
    await apply(plane, namespace, secret("first", key="1"))
    async with watching(api, partial(secrets(namespace)), PartialObject) as watched:
        ((name, before, first),) = watched.reported
        assert (name, before) == ("first", None)
        assert first is not None
        assert first.metadata.uid == plane.get("secret", "first", namespace)["metadata"]["uid"]
        await apply(plane, namespace, secret("second", key="1"))
        await apply(plane, namespace, secret("first", key="2"))
        await delete(plane, namespace, "secret/second")
        await eventually(lambda: len(watched.reported) == 4)
        assert [(name, before is None, after is None) for name, before, after in watched.reported] == [
            ("first", True, False),
            ("second", True, False),
            ("first", False, False),
            ("second", False, True),
        ]
        assert watched.reported[2][1] == first
        assert watched.names == {"first"}
        assert watched.metric("rollonce_watch_objects", resource="secrets") == 1
        assert watched.metric("rollonce_watch_behind", resource="secrets") == 0
        assert watched.metric("rollonce_watch_lists_total", resource="secrets") == 1
    assert watched.metric("rollonce_watch_objects", resource="secrets") == 0


async def test_a_metadata_selection_keeps_only_identity_and_version(
    plane: ControlPlane, api: KubernetesClient, namespace: str
) -> None:
    """Annotations, which can repeat the data of an applied Secret, are not kept."""
    await apply(plane, namespace, secret("database", password="hunter2"))
    assert "hunter2" in plane.kubectl("get", "secret", "database", "-n", namespace, "-o", "yaml").stdout
    async with watching(api, partial(secrets(namespace)), PartialObject) as watched:
        await apply(plane, namespace, secret("database", password="hunter3"))
        await eventually(lambda: len(watched.reported) == 2)
        assert "hunter" not in repr(watched.reported)


async def test_only_declared_fields_are_kept_and_compared(
    plane: ControlPlane, api: KubernetesClient, namespace: str
) -> None:
    """An object has the fields of the caller's struct, and a change of any other field is not reported."""
    selection = Selection(configmaps(namespace), fields="metadata.name=settings")
    await apply(plane, namespace, configmap("settings", a="1"), configmap("other", a="1"))
    async with (
        watching(api, selection, ConfigMap) as watched,
        watching(api, selection, Named) as named,
    ):
        await apply(plane, namespace, configmap("settings", a="2"))
        await eventually(lambda: len(watched.reported) == 2)
        await eventually(lambda: named.metric("rollonce_watch_events_total", resource="configmaps", type="MODIFIED"))
        assert [after and after.data for _, _, after in watched.reported] == [{"a": "1"}, {"a": "2"}]
        assert len(named.reported) == 1


async def test_selectors_are_applied(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """An object that loses the selected label is reported as gone."""
    await apply(plane, namespace, configmap("plain"), configmap("labelled"))
    selection = Selection(configmaps(namespace), labels="team=shop", metadata_only=True)
    async with watching(api, selection, PartialObject) as watched:
        assert watched.names == set()
        await asyncio.to_thread(plane.kubectl, "label", "configmap", "labelled", "team=shop", "-n", namespace)
        await eventually(lambda: watched.names == {"labelled"})
        await asyncio.to_thread(plane.kubectl, "label", "configmap", "labelled", "team-", "-n", namespace)
        await eventually(lambda: watched.names == set())


async def test_a_long_list_is_read_in_pages(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """Each object of a list in several pages is reported once, and later changes are reported too."""
    await apply(plane, namespace, *(configmap(f"number-{number}") for number in range(23)))
    offset = plane.audit.offset()
    async with watching(api, partial(configmaps(namespace)), PartialObject, first_page=2) as watched:
        expected = {f"number-{number}" for number in range(23)} | {"kube-root-ca.crt"}
        assert watched.names == expected
        assert len(watched.reported) == len(expected)
        await apply(plane, namespace, configmap("later"))
        await eventually(lambda: "later" in watched.names)
    lists = [event for event in plane.audit.events(since=offset, verb="list") if namespace in event.request_uri]
    limits = [event.request_uri.partition("limit=")[2].partition("&")[0] for event in lists]
    assert limits == ["2", "4", "8", "16"]


async def test_a_large_event_is_read(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """A watch event of a megabyte, about the largest object, is decoded."""
    async with watching(api, Selection(configmaps(namespace)), ConfigMap) as watched:
        big = configmap("big", text="\n" * 1_000_000)
        await asyncio.to_thread(plane.kubectl, "create", "-n", namespace, "-f", "-", input=json.dumps(big))
        await eventually(lambda: "big" in watched.names)
        (text,) = (after.data["text"] for name, _, after in watched.reported if name == "big" and after and after.data)
        assert len(text) == 1_000_000


async def test_an_undecodable_object_is_ignored_and_logged(
    plane: ControlPlane, api: KubernetesClient, namespace: str
) -> None:
    """An object that cannot be decoded counts as absent, and other objects are not affected."""
    await apply(plane, namespace, configmap("good"), configmap("odd", a="text"))
    with capture_logs() as logs:
        async with watching(api, Selection(configmaps(namespace)), NumericData) as watched:
            assert watched.names == {"good", "kube-root-ca.crt"}
            await apply(plane, namespace, configmap("good", a="text"))
            await eventually(lambda: watched.names == {"kube-root-ca.crt"})
            await delete(plane, namespace, "configmap/odd")
            await apply(plane, namespace, configmap("good"))
            await eventually(lambda: watched.names == {"good", "kube-root-ca.crt"})
    assert {line["object"] for line in logs} == {f"{namespace}/odd", f"{namespace}/good"}


async def test_a_missing_right_is_logged_and_retried(plane: ControlPlane, namespace: str, connect: Connect) -> None:
    """The log line has the user, verb and resource; when the right is granted, the informer lists without a restart."""
    kubeconfig = await asyncio.to_thread(plane.kubeconfig_for, "default", namespace)
    await apply(plane, namespace, secret("database"))
    with capture_logs() as logs:
        async with following(await connect(kubeconfig), partial(secrets(namespace)), PartialObject) as watched:
            await eventually(lambda: logs)
            assert not watched.informer.synced.is_set()
            role = ("--verb=list", "--verb=watch", "--resource=secrets")
            await asyncio.to_thread(plane.kubectl, "create", "role", "reader", *role, "-n", namespace)
            binding = ("--role=reader", f"--serviceaccount={namespace}:default")
            await asyncio.to_thread(plane.kubectl, "create", "rolebinding", "reader", *binding, "-n", namespace)
            await eventually(lambda: watched.names == {"database"})
            await eventually(lambda: logs[-1]["event"] == "watch works again")
    problem = str(logs[0]["problem"])
    assert f'User "system:serviceaccount:{namespace}:default" cannot list resource "secrets"' in problem
    assert len([line for line in logs if line.get("problem") == problem]) == 1


async def test_an_object_by_name_needs_a_right_to_that_name_only(
    plane: ControlPlane, namespace: str, connect: Connect
) -> None:
    """A Role with `resourceNames` is enough to watch one object, and does not allow any other name."""
    await apply(plane, namespace, secret("granted"), secret("other"))
    role = ("--verb=list", "--verb=watch", "--resource=secrets", "--resource-name=granted")
    await asyncio.to_thread(plane.kubectl, "create", "role", "reader", *role, "-n", namespace)
    binding = ("--role=reader", f"--serviceaccount={namespace}:default")
    await asyncio.to_thread(plane.kubectl, "create", "rolebinding", "reader", *binding, "-n", namespace)
    limited = await connect(await asyncio.to_thread(plane.kubeconfig_for, "default", namespace))
    async with (
        watching(limited, partial(secrets(namespace), name="granted"), PartialObject) as granted,
        following(limited, partial(secrets(namespace), name="other"), PartialObject) as other,
    ):
        await apply(plane, namespace, secret("granted", key="2"))
        await eventually(lambda: len(granted.reported) == 2)
        await delete(plane, namespace, "secret/granted")
        await eventually(lambda: granted.names == set())
        await apply(plane, namespace, secret("granted"))
        await eventually(lambda: granted.names == {"granted"})
        await eventually(lambda: other.metric("rollonce_watch_failures_total", resource="secrets", reason="refused"))
        assert not other.reported


async def test_a_silent_connection_is_replaced(
    plane: ControlPlane, namespace: str, network: Network, connect: Connect
) -> None:
    """Changes made while the network was frozen are reported afterwards, without a new list."""
    through = await connect(network.kubeconfig)
    await apply(plane, namespace, configmap("leaving"))
    selection = partial(configmaps(namespace))
    async with watching(through, selection, PartialObject, silence=1.0, watch_seconds=1.0) as watched:
        await eventually(lambda: watched.metric("rollonce_watch_behind", resource="configmaps") == 0)
        network.process.freeze()
        await apply(plane, namespace, configmap("meanwhile"))
        await delete(plane, namespace, "configmap/leaving")
        await eventually(lambda: watched.metric("rollonce_watch_behind", resource="configmaps") == 1)
        network.process.thaw()
        await eventually(lambda: "meanwhile" in watched.names)
        gone = [name for name, _, after in watched.reported if after is None]
        assert gone == ["leaving"]
        assert watched.metric("rollonce_watch_lists_total", resource="configmaps") == 1


async def test_an_informer_can_be_run_again(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """An informer that was cancelled, for example when leadership is lost, continues without a new list."""
    async with watching(api, partial(configmaps(namespace)), PartialObject) as watched:
        watched.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watched.task
        await apply(plane, namespace, configmap("meanwhile"))
        again = asyncio.create_task(watched.informer.run())
        await eventually(lambda: "meanwhile" in watched.names)
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
        assert watched.metric("rollonce_watch_lists_total", resource="configmaps") == 1
        assert watched.metric("rollonce_watch_objects", resource="configmaps") == 0


async def test_a_watch_that_ends_is_continued(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """The next watch continues from the last bookmark, without a list, without a log line and without a lost change."""
    offset = plane.audit.offset()

    def watches() -> int:
        return len(
            {event.audit_id for event in plane.audit.events(since=offset, verb="watch") if path in event.request_uri}
        )

    path = configmaps(namespace)
    with capture_logs() as logs:
        async with watching(api, partial(path), PartialObject, watch_seconds=4.0) as watched:
            # Without any change the API server has no newer version for a bookmark.
            await apply(plane, namespace, configmap("sooner"))
            bookmarks = {"resource": "configmaps", "type": "BOOKMARK"}
            await eventually(lambda: watched.metric("rollonce_watch_events_total", **bookmarks))
            await eventually(lambda: watches() >= 3)
            await apply(plane, namespace, configmap("later"))
            await eventually(lambda: "later" in watched.names)
            assert watched.metric("rollonce_watch_lists_total", resource="configmaps") == 1
    assert not logs


async def test_a_missing_right_to_watch_is_logged(plane: ControlPlane, namespace: str, connect: Connect) -> None:
    """Listed objects are known, and the log line says that the watch is not allowed."""
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
