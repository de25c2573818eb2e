"""Valkeys that form a group: a primary with a replica and a Sentinel, and a Cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.controlplane.polling import wait_for
from tests.controlplane.ports import free_ports
from tests.valkey import AppendOnly, Valkey


@dataclass(frozen=True, slots=True)
class Sentinels:
    """A primary, its replica, and a Sentinel that monitors them.

    Attributes:
        url: URL by which clients find the present primary.
        primary: The server that is primary at the start.
        replica: The server that is replica at the start.
    """

    url: str
    primary: Valkey
    replica: Valkey


@contextmanager
def replicated(folder: Path) -> Iterator[tuple[Valkey, Valkey]]:
    """Start a primary and a replica that has copied all its data."""
    with ExitStack() as stack:
        primary = stack.enter_context(Valkey.start(folder / "primary"))
        follow = (f"replicaof 127.0.0.1 {primary.port}", "repl-ping-replica-period 1")
        replica = stack.enter_context(Valkey.start(folder / "replica", config=follow))
        client: Any = redis.Redis.from_url(replica.url)
        wait_for(lambda: client.info("replication")["master_link_status"] == "up", what="the replica to follow")
        client.close()
        yield primary, replica


@contextmanager
def sentinels(folder: Path) -> Iterator[Sentinels]:
    """Start a primary, a replica and a Sentinel that has found both."""
    with replicated(folder) as (primary, replica):
        watch = (
            f"sentinel monitor main 127.0.0.1 {primary.port} 1",
            "sentinel down-after-milliseconds main 500",
            "sentinel failover-timeout main 2000",
        )
        with Valkey.start(folder / "sentinel", appendonly=None, config=watch, args=("--sentinel",)) as watcher:
            client: Any = redis.Redis.from_url(watcher.url)
            wait_for(lambda: client.execute_command("SENTINEL", "REPLICAS", "main"), what="the Sentinel to find both")
            client.close()
            yield Sentinels(f"redis+sentinel://127.0.0.1:{watcher.port}/main", primary, replica)


@contextmanager
def cluster(
    folder: Path, *, appendonly: AppendOnly | None = "everysec", config: Sequence[str] = ()
) -> Iterator[tuple[str, list[Valkey]]]:
    """Start three servers that form a Cluster without replicas; yield the URL and the servers."""
    lines = ("cluster-enabled yes", "cluster-node-timeout 2000", *config)
    # By default a server's second port is the first one and 10,000, where an outgoing connection may be.
    ports = free_ports(6)
    buses = dict(zip(ports[:3], ports[3:], strict=True))
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                Valkey.start(
                    folder / f"n{number}", appendonly=appendonly, config=(*lines, f"cluster-port {bus}"), port=port
                )
            )
            for number, (port, bus) in enumerate(buses.items())
        ]
        clients: list[Any] = [stack.enter_context(redis.Redis.from_url(node.url)) for node in nodes]
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 16384 * number // 3, 16384 * (number + 1) // 3 - 1)
            for port, bus in buses.items():
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
        for client in clients:
            wait_for(lambda c=client: "ok" in str(c.cluster("info")["cluster_state"]), what="the Cluster to form")  # type: ignore[misc]  # mypy cannot infer it
        yield "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes), nodes
