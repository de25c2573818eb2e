"""Who has paused a workload: rollonce, which holds it, or somebody else, whose pause must stay.

A mutating webhook's `paused: true` is owned by no field manager. So an owner of `spec.paused` in
`metadata.managedFields` has written it himself, by a server-side apply or by a change of the value. Two writes leave no
such trace, because the value is `true` already and they do not change it:

- A client-side apply, which stores the manifest in an annotation.
- `kubectl patch`, which stores nothing at all: its request is the only chance to see it.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

from typing import Final

import msgspec

from webhook.checksums.core.keys import HELD

#: Where `kubectl apply` without `--server-side` leaves the manifest as its author wrote it.
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
#: The field manager of `kubectl patch`. Other commands of kubectl send no request that changes nothing.
KUBECTL_PATCH: Final = "kubectl-patch"
#: The shortest manifest of a workload that its author has paused.
PAUSED_MANIFEST: Final = '{"spec":{"paused":true}}'
_APPLY: Final = "Apply"
_ABSENT: Final = msgspec.Raw()


class _OwnedSpec(msgspec.Struct, frozen=True, gc=False):
    paused: msgspec.Raw = msgspec.field(name="f:paused", default=_ABSENT)


class _OwnedAnnotations(msgspec.Struct, frozen=True, gc=False):
    held: msgspec.Raw = msgspec.field(name=f"f:{HELD}", default=_ABSENT)


class _OwnedMetadata(msgspec.Struct, frozen=True, gc=False):
    annotations: _OwnedAnnotations | None = msgspec.field(name="f:annotations", default=None)


class _OwnedFields(msgspec.Struct, frozen=True, gc=False):
    spec: _OwnedSpec | None = msgspec.field(name="f:spec", default=None)
    metadata: _OwnedMetadata | None = msgspec.field(name="f:metadata", default=None)


class _Entry(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """An entry of `metadata.managedFields`; of its fields only those that a hold consists of."""

    operation: str = ""
    fields_v1: _OwnedFields | None = msgspec.field(name="fieldsV1", default=None)

    @property
    def owns_paused(self) -> bool:
        spec = self.fields_v1.spec if self.fields_v1 else None
        return spec is not None and bool(bytes(spec.paused))

    @property
    def owns_held(self) -> bool:
        metadata = self.fields_v1.metadata if self.fields_v1 else None
        annotations = metadata.annotations if metadata else None
        return annotations is not None and bool(bytes(annotations.held))


class _AppliedMetadata(msgspec.Struct, frozen=True):
    annotations: dict[str, str | None] | None = None


class _AppliedSpec(msgspec.Struct, frozen=True):
    paused: bool | None = None


class _Applied(msgspec.Struct, frozen=True):
    metadata: _AppliedMetadata | None = None
    spec: _AppliedSpec | None = None


_entries_decoder: Final = msgspec.json.Decoder(tuple[_Entry, ...] | None)
_applied_decoder: Final = msgspec.json.Decoder(_Applied)


def is_paused_by_others(managed_fields: msgspec.Raw, last_applied: str | None) -> bool:
    """Return whether somebody other than rollonce wants a workload with `paused: true` to be paused.

    Who wrote both `paused` and the annotation `held`, as a backup that is restored does, has copied a hold.

    Args:
        managed_fields: The JSON of its `metadata.managedFields`.
        last_applied: Its annotation `LAST_APPLIED`; None if it has none.
    """
    if any(entry.owns_paused and not entry.owns_held for entry in _entries(managed_fields)):
        return True
    applied = _applied(last_applied)
    annotations = (applied.metadata.annotations if applied and applied.metadata else None) or {}
    return _paused_in(applied) is True and HELD not in annotations


def pause_in_manifest(managed_fields: msgspec.Raw, last_applied: str | None) -> bool | None:
    """Return the value of `paused` in the manifest of a workload that is not paused; None if it has none.

    The API server drops a false value before webhooks see the object. A true value is that of another object, from
    which this one was copied. Arguments as for `is_paused_by_others`.
    """
    owned = any(entry.operation == _APPLY and entry.owns_paused for entry in _entries(managed_fields))
    return False if owned else _paused_in(_applied(last_applied))


def _entries(managed_fields: msgspec.Raw) -> tuple[_Entry, ...]:
    try:
        return _entries_decoder.decode(managed_fields) or ()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()


def _applied(last_applied: str | None) -> _Applied | None:
    try:
        return _applied_decoder.decode(last_applied or "{}")
    except (msgspec.DecodeError, RecursionError):
        return None


def _paused_in(applied: _Applied | None) -> bool | None:
    return applied.spec.paused if applied and applied.spec else None
