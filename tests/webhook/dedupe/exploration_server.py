"""What the exploration puts into the objects of one server, and reads back from them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from tests.webhook.dedupe.exploration_objects import recall_filter, stored_ledger, view
from tests.webhook.dedupe.exploration_state import ServerState
from webhook.dedupe.core.continuity import Continuity
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.ledger import BucketPosition
from webhook.dedupe.core.stagger import Stagger
from webhook.dedupe.wiring import Deduplication

#: Attributes of `Continuity` that grow older; each has a field of its own.
_TIMES = {"registered_at": "registered_at", "_seen": "own_seen"}


class Memory:
    """Put the state of a server into its objects, and read it back.

    Args:
        key: The only delivery.
    """

    def __init__(self, key: DeliveryKey) -> None:
        self._key = key
        self._filters = {known: recall_filter(key.address.digest if known else None) for known in (False, True)}

    def load(self, server: Deduplication, state: ServerState) -> None:
        """Put a state into a server."""
        bucket = self._key.bucket
        server.outage._since = state.outage_since
        server.unsynced._since = {} if state.unsynced_since is None else {bucket: state.unsynced_since}
        server.validator._local._admitted = OrderedDict({self._key.address: state.admitted} if state.admitted else {})
        recollection = server.recollection
        recollection._filter, recollection._next = self._filters[state.remembered], None
        recollection._complete, recollection._followed_at = state.complete, state.followed_at
        recollection._whole, recollection._synced = state.whole, state.synced
        (recollection._incomplete.set if state.incomplete else recollection._incomplete.clear)()
        recollection._last = {} if state.last is None else {bucket: state.last}
        positions = server.records.positions
        positions._known = {} if state.position is None else {bucket: BucketPosition(*state.position)}
        positions._since = {} if state.written_under is None else {bucket: state.written_under}
        self._load_keeper(server, state)

    @staticmethod
    def _load_keeper(server: Deduplication, state: ServerState) -> None:
        keeper = server.keeper
        keeper._heartbeat_at, keeper._agrees = state.heartbeat_at, state.agrees
        keeper._admits_until = state.admits_until
        keeper._shared.read_at, keeper._shared.seen = state.read_at, state.seen and stored_ledger(state.seen)
        keeper._continuity = Continuity(state.name)
        for name, value in state.continuity:
            setattr(keeper._continuity, name, value)
        for name, field in _TIMES.items():
            setattr(keeper._continuity, name, getattr(state, field))
        keeper.stagger = stagger = Stagger(state.name)
        stagger._down, stagger.others_went_on = dict(state.down), state.others_went_on
        stagger._told_since, stagger.told_at = state.told_since, state.told_at or 0.0

    def save(self, server: Deduplication, name: str, config_map: dict[str, Any] | None) -> ServerState:
        """Return the state of a server."""
        bucket, keeper, recollection = self._key.bucket, server.keeper, server.recollection
        remembered = self._key.address.digest in recollection._filter
        if recollection._filter is self._filters[False] and remembered:
            self._filters[False] = recall_filter(None)
        seen, positions = keeper._shared.seen, server.records.positions
        position = positions._known.get(bucket)
        version = config_map and config_map["metadata"]["resourceVersion"]
        continuity, stagger = vars(keeper._continuity), keeper.stagger
        return ServerState(
            name,
            outage_since=server.outage._since,
            unsynced_since=server.unsynced._since.get(bucket),
            admitted=server.validator._local._admitted.get(self._key.address),
            followed_at=recollection._followed_at,
            remembered=remembered,
            complete=recollection._complete,
            whole=recollection._whole,
            synced=recollection._synced,
            incomplete=recollection._incomplete.is_set(),
            last=recollection._last.get(bucket),
            position=None if position is None else (position.dataset, position.writes),
            written_under=positions._since.get(bucket),
            read_at=keeper._shared.read_at,
            seen=None if seen is None else view(seen.body, current=seen.body["metadata"]["resourceVersion"] == version),
            heartbeat_at=keeper._heartbeat_at,
            admits_until=keeper._admits_until,
            agrees=keeper._agrees,
            registered_at=keeper._continuity.registered_at,
            own_seen=keeper._continuity._seen,
            continuity=tuple((each, value) for each, value in continuity.items() if each not in _TIMES),
            down=tuple(sorted(stagger._down.items())),
            others_went_on=stagger.others_went_on,
            told_since=stagger._told_since,
            told_at=stagger.told_at or None,
        )
