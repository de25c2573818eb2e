"""The findings about an unsafe store."""

from __future__ import annotations

import pytest

from webhook.dedupe.core.store_findings import findings

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


def test_a_safe_store_has_no_findings() -> None:
    """There is no finding for a safe server, nor for one that reports nothing."""
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
def test_each_danger_is_a_finding(facts: dict[str, str], word: str) -> None:
    """One wrong fact gives one finding that names it."""
    (found,) = findings(SAFE | facts)
    assert word in found


def test_evicted_keys_are_a_finding() -> None:
    """A server that has evicted keys may lack records."""
    _, evicted = findings(SAFE | {"maxmemory_policy": "allkeys-lru", "evicted_keys": "12"})
    assert "12 keys" in evicted


@pytest.mark.parametrize(("connected", "required", "is_finding"), [("1", 1, False), ("0", 1, True), ("1", 2, True)])
def test_too_few_replicas_are_a_finding(*, connected: str, required: int, is_finding: bool) -> None:
    """The replicas that must acknowledge have to be connected."""
    found = findings(SAFE | {"connected_slaves": connected}, replicas=required)
    assert ["wait_replicas" in one for one in found] == [True] * is_finding


def test_a_replica_in_a_cluster_is_no_finding() -> None:
    """In a Cluster replicas are checked like all servers, and their role is no finding."""
    assert findings(SAFE | {"role": "slave"}, member=True) == ()
    (found,) = findings(SAFE | {"role": "slave", "aof_enabled": "0"}, member=True)
    assert "appendonly" in found
