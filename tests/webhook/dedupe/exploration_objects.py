"""The objects that the exploration puts into a server, and what it reads back from them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from tests.webhook.dedupe.exploration_state import START, StateView
from webhook.dedupe.core.ledger import BucketPosition, Ledger
from webhook.dedupe.core.recall import RecallFilter
from webhook.dedupe.core.record import State, decode, encode
from webhook.dedupe.ledger_store import StoredLedger

_STATE_UID: Final = "00000000-0000-4000-8000-000000000001"


class Labels:
    """Give the random ids of a bucket's data names that do not depend on chance, in their order.

    Args:
        count: How many ids were named before.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._names: dict[str, str] = {}

    def of(self, dataset: str) -> str:
        """Return the name of an id."""
        if not dataset or dataset.startswith("#"):
            return dataset
        if dataset not in self._names:
            self.count += 1
            self._names[dataset] = f"#{self.count}"
        return self._names[dataset]

    def view(self, state: StateView) -> StateView:
        """Return a ConfigMap with names in place of ids."""
        ledger = decoded(state.text) if state.text else None
        if ledger is None or all(position.dataset.startswith("#") for position in ledger.positions.values()):
            return state
        positions = {
            bucket: BucketPosition(self.of(position.dataset), position.writes)
            for bucket, position in ledger.positions.items()
        }
        return state._replace(text=Ledger(ledger.outages, ledger.servers, positions).encode())


@lru_cache(maxsize=100_000)
def decoded(text: str) -> Ledger:
    """Return a ledger; it must not be changed."""
    return Ledger.decode(text)


def config_map(state: StateView) -> dict[str, Any]:
    """Return the ConfigMap; a version that is not current has a lower number."""
    metadata = {
        "uid": _STATE_UID,
        "creationTimestamp": datetime.fromtimestamp(state.created_at, UTC).isoformat(),
        "resourceVersion": "2" if state.current else "1",
    }
    return {"metadata": metadata, "data": {"state": state.text}} if state.text else {"metadata": metadata}


def view(body: dict[str, Any], *, current: bool) -> StateView:
    """Return what is in a ConfigMap."""
    created_at = datetime.fromisoformat(body["metadata"]["creationTimestamp"]).timestamp()
    return StateView((body.get("data") or {}).get("state", ""), created_at, current)


def stored_ledger(state: StateView) -> StoredLedger:
    """Return the ledger as a server has it after a read."""
    ledger = decoded(state.text) if state.text else None
    return StoredLedger(ledger, _STATE_UID, state.created_at, config_map(state))


def recall_filter(digest: bytes | None) -> RecallFilter:
    """Return a memory of one delivery, or of none."""
    memory = RecallFilter()
    if digest is not None:
        memory.add(digest)
    return memory


def request_uid(number: int) -> str:
    """Return the uid of the admission request of a create."""
    return str(uuid.UUID(int=(number + 101) << 96))


def settled(raw: bytes) -> bytes:
    """Return a record; of one that is confirmed the times do not matter any more."""
    record = decode(raw) if raw else None
    if record is None or record.state is not State.CONFIRMED:
        return raw
    return encode(replace(record, created_at=int(START), reserved_at=0), raw[0])
