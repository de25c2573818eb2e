"""Who has paused a workload; the managed fields are those of a real API server."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from webhook.checksums.core.keys import HELD
from webhook.checksums.core.kinds import DEPLOYMENT
from webhook.checksums.core.pause import LAST_APPLIED, is_paused_by_others, pause_in_manifest
from webhook.checksums.core.workload import Workload

NOBODY = msgspec.Raw()
CREATED: dict[str, Any] = {
    "f:spec": {"f:replicas": {}},
    "f:metadata": {"f:annotations": {".": {}, "f:example.com/x": {}}},
}
PAUSED: dict[str, Any] = {"f:spec": {"f:paused": {}}}
COPIED: dict[str, Any] = {"f:spec": {"f:paused": {}}, "f:metadata": {"f:annotations": {f"f:{HELD}": {}}}}


def owned(*entries: tuple[str, dict[str, Any]]) -> msgspec.Raw:
    """Return managed fields: the operation and the fields of each entry."""
    listed = [
        {"manager": "m", "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields}
        for operation, fields in entries
    ]
    return msgspec.Raw(json.dumps(listed).encode())


@pytest.mark.parametrize("operation", ["Apply", "Update"])
def test_an_owner_has_paused_it(operation: str) -> None:
    """By a server-side apply, or by `kubectl rollout pause` after it had been resumed."""
    assert is_paused_by_others(owned(("Update", CREATED), (operation, PAUSED)), None)
    assert not is_paused_by_others(owned((operation, CREATED)), None)


def test_a_manifest_has_paused_it() -> None:
    """A client-side apply leaves the manifest in an annotation."""
    assert is_paused_by_others(NOBODY, '{"spec":{"paused":true}}')
    for manifest in ('{"spec":{"paused":false}}', '{"spec":{}}', "{}", "", "[]", "[" * 100_000, None):
        assert not is_paused_by_others(NOBODY, manifest)


def test_a_copy_of_a_hold_is_a_hold() -> None:
    """A backup that is restored has both the pause and the annotation."""
    assert not is_paused_by_others(owned(("Update", COPIED)), None)
    copied = {"metadata": {"annotations": {HELD: "waiting for secret/db"}}, "spec": {"paused": True}}
    assert not is_paused_by_others(NOBODY, json.dumps(copied))
    assert is_paused_by_others(owned(("Update", COPIED), ("Apply", PAUSED)), None)


@pytest.mark.parametrize("odd", ["null", "[]", "[{}]", "7", '[{"fieldsV1":null}]', '[{"fieldsV1":{"f:spec":null}}]'])
def test_odd_managed_fields_are_nobodys(odd: str) -> None:
    """Some tools empty them."""
    assert not is_paused_by_others(msgspec.Raw(odd.encode()), None)
    assert pause_in_manifest(msgspec.Raw(odd.encode()), None) is None


def test_a_manifest_that_says_not_paused() -> None:
    """The value is dropped by the API server; the field is still owned by the apply, or in the annotation."""
    assert pause_in_manifest(owned(("Apply", PAUSED)), None) is False
    assert pause_in_manifest(owned(("Update", PAUSED)), None) is None
    assert pause_in_manifest(NOBODY, '{"spec":{"paused":false}}') is False
    assert pause_in_manifest(NOBODY, '{"spec":{"paused":true}}') is True
    assert pause_in_manifest(NOBODY, "{}") is None


@pytest.mark.parametrize("way", ["managed fields", "last applied"])
def test_a_stored_workload_keeps_only_what_is_needed(way: str) -> None:
    """The controller knows who has paused a workload, and holds neither its managed fields nor its manifest."""
    metadata: dict[str, Any] = {"name": "shop", "annotations": {HELD: "waiting for secret/db", LAST_APPLIED: "{}"}}
    for expected in (True, False):
        tree = json.dumps({"metadata": metadata, "spec": {"paused": True}})
        decoded = msgspec.json.decode(tree, type=DEPLOYMENT.stored_type)
        assert Workload.of_stored(DEPLOYMENT, decoded).held is expected
        assert len(bytes(decoded.metadata.managed_fields)) == 0
        assert len(msgspec.json.encode(decoded.metadata.annotations)) < 200
        if way == "managed fields":
            metadata["managedFields"] = json.loads(bytes(owned(("Apply", PAUSED))))
        else:
            large = {"spec": {"paused": True}, "metadata": {"x": "y" * 1000}}
            metadata["annotations"][LAST_APPLIED] = json.dumps(large)
