"""What is unsafe about a store, in plain words; pure: what `INFO` says in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Script effects, `PXAT` and `KEEPTTL` are all there since then.
_OLDEST: Final = (6, 2)
_FULL: Final = 0.8
_NEVER_EVICTS: Final = "noeviction"
_NOT_PERSISTENT: Final = (
    "Append-only persistence is off: a restart forgets deliveries, which then have to be found at the API server, and "
    "those whose runs were deleted cannot be. Set 'appendonly yes'."
)


def findings(info: Mapping[str, str], *, replicas: int = 0, member: bool = False) -> tuple[str, ...]:
    """Say what could make the store forget or refuse, and what to do about it.

    Args:
        info: All sections of `INFO`; what a server does not tell is not judged.
        replicas: How many are asked to acknowledge reservations.
        member: Whether the server is one of a Cluster, where replicas are found by themselves.

    Returns:
        One sentence or two for each finding; none for a store that is safe.
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
    # Every record has a time to live, so that the volatile policies evict them as the others do.
    if policy != _NEVER_EVICTS:
        found.append(
            f"The eviction policy is {policy}: when memory is full the server throws records away, and nobody notices. "
            "Set 'maxmemory-policy noeviction'."
        )
    if limit and used >= _FULL * limit:
        found.append(
            f"Memory is {100 * used // limit} % full ({used} of {limit} bytes): when it is full, new deliveries are "
            "refused or treated as while Redis is down. Raise 'maxmemory'."
        )
    if int(info.get("evicted_keys", "0")) and policy != _NEVER_EVICTS:
        found.append(f"The server has evicted {info['evicted_keys']} keys already, records maybe among them.")
    return tuple(found)


def _server(info: Mapping[str, str], *, replicas: int, member: bool) -> tuple[str, ...]:
    found = []
    version = info.get("redis_version", "")
    if version and _numbers(version) < _OLDEST:
        found.append(f"The server speaks Redis {version}, older than 6.2, which the scripts need. Upgrade it.")
    if info.get("role", "master") != "master" and not member:
        found.append("The server is a replica and takes no writes. Point the URL at the primary, or use Sentinel.")
    elif int(info.get("connected_slaves", "0")) < replicas:
        found.append(
            f"{replicas} replicas are asked to acknowledge each reservation, and {info.get('connected_slaves', '0')} "
            "are connected. Start those that are missing, or lower wait_replicas."
        )
    if info.get("loading") == "1":
        found.append("The server is still loading what it kept.")
    return tuple(found)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
