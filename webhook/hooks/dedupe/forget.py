"""Forgetting: an operator frees a delivery, on purpose and for one run only."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from webhook.admission.deadline import Deadline
from webhook.hooks.dedupe.core.key import DeliveryKey
from webhook.hooks.dedupe.core.record import Forgotten, State
from webhook.hooks.dedupe.store import Store


async def forget(store: Store, key: DeliveryKey, uid: str, deadline: Deadline, *, retention: timedelta) -> bool:
    """Declare that a delivery's run counts no longer; its next create is the first one again.

    The run itself is left alone: while it exists it keeps its name, so that a create with the same generated name is
    still refused by the API server's storage. What is remembered instead of the record keeps the watch from bringing
    it back; it is the store's alone, so a store that loses its memory makes a run count again that still exists.

    Args:
        store: Where the record is.
        key: The delivery.
        uid: Canonical, of the run that the operator has seen: a run that took its place meanwhile is not forgotten.
        deadline: For the store's answers.
        retention: For which the run would have counted at most.

    Returns:
        False if the record is of another run, or there is none.

    Raises:
        StoreError: No answer; whether it was forgotten is unknown.
    """
    raw, record = await store.get(key, deadline)
    if record is None or record.state is State.FORGOTTEN or record.uid != uid:
        return False
    newest = max(record.created_at, record.forgotten.created_at if record.forgotten else 0)
    forgotten = replace(record, state=State.FORGOTTEN, forgotten=Forgotten(newest, uid))
    expires_at = int((max(record.created_at, record.reserved_at / 1000) + retention.total_seconds()) * 1000)
    return await store.swap(key, raw, forgotten, deadline, expires_at=expires_at)
