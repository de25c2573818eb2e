"""What is said about an unsafe store."""

from __future__ import annotations

import pytest

from webhook.hooks.dedupe.core.inspection import findings

SAFE = {
    "redis_version": "7.2.4",
    "role": "master",
    "loading": "0",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "maxmemory": "1000",
    "used_memory": "799",
    "maxmemory_policy": "noeviction",
    "evicted_keys": "0",
    "connected_slaves": "0",
}


def test_a_safe_store_is_not_talked_about() -> None:
    """Nothing is found on a safe server, nor on one that tells nothing."""
    assert findings(SAFE) == ()
    assert findings({}) == ()


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"aof_enabled": "0"}, "appendonly yes"),
        ({"aof_last_write_status": "err"}, "disk"),
        ({"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy noeviction"),
        ({"maxmemory_policy": "volatile-ttl"}, "volatile-ttl"),
        ({"used_memory": "800"}, "80 % full"),
        ({"redis_version": "6.0.16"}, "6.0.16"),
        ({"redis_version": "5"}, "Upgrade"),
        ({"role": "slave"}, "replica and takes no writes"),
        ({"loading": "1"}, "loading"),
    ],
)
def test_each_danger_is_said_with_what_to_do(facts: dict[str, str], word: str) -> None:
    """One fact that is wrong makes one sentence that names it."""
    (found,) = findings(SAFE | facts)
    assert word in found


def test_what_was_evicted_already_is_told() -> None:
    """A server that evicts and has done so lacks records now."""
    _, evicted = findings(SAFE | {"maxmemory_policy": "allkeys-lru", "evicted_keys": "12"})
    assert "12 keys" in evicted


@pytest.mark.parametrize(("connected", "asked", "told"), [("1", 1, False), ("0", 1, True), ("1", 2, True)])
def test_too_few_replicas_are_told(*, connected: str, asked: int, told: bool) -> None:
    """Replicas that shall acknowledge have to be there."""
    found = findings(SAFE | {"connected_slaves": connected}, replicas=asked)
    assert ["wait_replicas" in one for one in found] == [True] * told


def test_a_replica_in_a_cluster_is_no_mistake() -> None:
    """In a Cluster replicas are looked at like all others, and not told to be the wrong server."""
    assert findings(SAFE | {"role": "slave"}, member=True) == ()
    (found,) = findings(SAFE | {"role": "slave", "aof_enabled": "0"}, member=True)
    assert "appendonly" in found
