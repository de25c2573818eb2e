"""What is unsafe about the configuration or state of a store: the result of `INFO` in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: The first version that has script effects, `PXAT` and `KEEPTTL`.
_OLDEST: Final = (6, 2)
_FULL: Final = 0.8
_NEVER_EVICTS: Final = "noeviction"
_NOT_PERSISTENT: Final = (
    "Append-only persistence is off: a restart loses all records. They are rebuilt from the API server, except those "
    "of deleted runs. Set 'appendonly yes'."
)


def findings(info: Mapping[str, str], *, replicas: int = 0, member: bool = False) -> tuple[str, ...]:
    """Return what could make a server lose records or refuse writes, and what to do about it.

    Args:
        info: All sections of `INFO`; a missing field is no finding.
        replicas: How many replicas must acknowledge a reservation.
        member: Whether the server is a member of a Cluster, where clients find the primaries by themselves.

    Returns:
        One or two sentences for each finding; empty for a safe server.
    """
    return (*_persistence(info), *_memory(info), *_server(info, replicas=replicas, member=member))


def _persistence(info: Mapping[str, str]) -> tuple[str, ...]:
    if info.get("aof_enabled") == "0":
        return (_NOT_PERSISTENT,)
    if info.get("aof_last_write_status", "ok") != "ok":
        return ("The last write to the append-only file failed: the disk may be full. Look at the server's log.",)
    return ()


def _memory(info: Mapping[str, str]) -> tuple[str, ...]:
    found = []
    policy = info.get("maxmemory_policy", _NEVER_EVICTS)
    limit, used = int(info.get("maxmemory", "0")), int(info.get("used_memory", "0"))
    # Every record has a time to live, so the volatile policies evict records too.
    if policy != _NEVER_EVICTS:
        found.append(
            f"The eviction policy is {policy}: when memory is full, the server deletes records without an error. "
            "Set 'maxmemory-policy noeviction'."
        )
    if limit and used >= _FULL * limit:
        found.append(
            f"Memory is {100 * used // limit} % full ({used} of {limit} bytes): when it is full, new deliveries are "
            "refused or treated as while Redis is down. Raise 'maxmemory'."
        )
    if int(info.get("evicted_keys", "0")) and policy != _NEVER_EVICTS:
        found.append(f"The server has evicted {info['evicted_keys']} keys already, perhaps records.")
    return tuple(found)


def _server(info: Mapping[str, str], *, replicas: int, member: bool) -> tuple[str, ...]:
    found = []
    version = info.get("redis_version", "")
    if version and _numbers(version) < _OLDEST:
        found.append(f"The server is Redis {version}; the scripts need 6.2 or newer. Upgrade it.")
    if info.get("role", "master") != "master" and not member:
        found.append("The server is a replica and takes no writes. Point the URL at the primary, or use Sentinel.")
    elif int(info.get("connected_slaves", "0")) < replicas:
        found.append(
            f"{replicas} replicas must acknowledge each reservation, and {info.get('connected_slaves', '0')} "
            "are connected. Start those that are missing, or lower wait_replicas."
        )
    if info.get("loading") == "1":
        found.append("The server is still loading its data.")
    return tuple(found)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
