"""A Valkey for tests keeps its data as documented, and can be broken."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.controlplane import ControlPlaneError, ProcessError, wait_for
from tests.controlplane.liveness import is_alive
from tests.controlplane.ports import free_ports
from tests.valkey import AppendOnly, Valkey


@contextmanager
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    """Connect with a timeout of half a second."""
    opened = redis.Redis.from_url(valkey.url, socket_timeout=0.5, socket_connect_timeout=0.5, decode_responses=True)
    try:
        yield opened
    finally:
        opened.close()


def test_acknowledged_writes_survive_sigkill(valkey: Valkey) -> None:
    """After a restart on the same address, all acknowledged writes exist."""
    url = valkey.url
    with client(valkey) as connected:
        for number in range(100):
            connected.set(f"key-{number}", number)
    valkey.kill()
    valkey.restart()
    assert valkey.url == url
    with client(valkey) as connected:
        assert [connected.get(f"key-{number}") for number in range(100)] == [str(number) for number in range(100)]


def test_without_persistence_a_restart_loses_all_data(tmp_path: Path) -> None:
    """With `appendonly=None`, a restarted server has no data."""
    with Valkey.start(tmp_path / "v", appendonly=None) as valkey:
        with client(valkey) as connected:
            connected.set("key", "value")
        valkey.restart()
        with client(valkey) as connected:
            assert connected.get("key") is None


@pytest.mark.parametrize("appendonly", ["everysec", "always"])
def test_persistence_is_configured(tmp_path: Path, appendonly: AppendOnly) -> None:
    """The server reports the persistence that was requested."""
    with Valkey.start(tmp_path / "v", appendonly=appendonly) as valkey, client(valkey) as connected:
        assert connected.config_get("appendfsync") == {"appendfsync": appendonly}
        assert connected.config_get("appendonly") == {"appendonly": "yes"}


def test_a_frozen_server_does_not_answer(valkey: Valkey) -> None:
    """Requests to a frozen server time out, and after `thaw` the server answers."""
    with client(valkey) as connected:
        connected.set("key", "value")
        valkey.freeze()
        with pytest.raises(redis.TimeoutError):
            connected.get("key")
        valkey.thaw()
        assert connected.get("key") == "value"


def test_a_server_can_listen_on_a_unix_socket_only(tmp_path: Path) -> None:
    """The socket is in the folder, accessible for its owner only, and no port is open."""
    with Valkey.start(tmp_path / "v", unix_socket=True) as valkey, client(valkey) as connected:
        assert valkey.url == f"unix://{tmp_path}/v/valkey.sock"
        assert valkey.port is None
        assert connected.config_get("port") == {"port": "0"}
        assert stat.S_IMODE((tmp_path / "v" / "valkey.sock").stat().st_mode) == 0o700


def test_a_path_too_long_for_a_socket_is_rejected(tmp_path: Path) -> None:
    """The error says how long the path of a unix socket can be."""
    with pytest.raises(ControlPlaneError, match="bytes of a unix socket"):
        Valkey.start(tmp_path / ("deep" * 30), unix_socket=True)


def test_tls_is_verified(tmp_path: Path) -> None:
    """The URL has the CA of the server, and a client that does not trust this CA cannot connect."""
    with Valkey.start(tmp_path / "v", tls=True) as valkey:
        assert valkey.url.startswith("rediss://")
        with client(valkey) as connected:
            connected.set("key", "x" * 1_000_000)
            assert connected.strlen("key") == 1_000_000
        with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            redis.Redis.from_url(valkey.url.partition("?")[0]).ping()
        valkey.kill()
        with client(valkey) as connected, pytest.raises(redis.RedisError):
            connected.get("key")
        valkey.restart()
        with client(valkey) as connected:
            assert connected.strlen("key") == 1_000_000


def test_a_password_is_required(tmp_path: Path) -> None:
    """The URL has the password, with any characters, and a client without it is rejected."""
    with Valkey.start(tmp_path / "v", password="p@ss/w:rd") as valkey:
        with client(valkey) as connected:
            assert connected.ping()
        with pytest.raises(redis.AuthenticationError):
            redis.Redis.from_url(f"redis://127.0.0.1:{valkey.port}").ping()


def test_a_sentinel_names_the_new_primary(tmp_path: Path) -> None:
    """When the primary is killed, Sentinel reports the replica as primary."""
    with Valkey.start(tmp_path / "a") as primary:
        follow = (f"replicaof 127.0.0.1 {primary.port}",)
        watch = (
            f"sentinel monitor main 127.0.0.1 {primary.port} 1",
            "sentinel down-after-milliseconds main 500",
            "sentinel failover-timeout main 5000",
        )
        with (
            Valkey.start(tmp_path / "b", config=follow) as replica,
            Valkey.start(tmp_path / "s", config=watch, args=("--sentinel",), appendonly=None) as sentinel,
            client(sentinel) as monitor,
        ):
            wait_for(lambda: monitor.sentinel_slaves("main"), what="the sentinel to find the replica")
            primary.kill()
            wait_for(
                lambda: monitor.sentinel_get_master_addr_by_name("main") == ("127.0.0.1", replica.port),
                what="the failover",
            )


def test_a_cluster_of_one_server_works(tmp_path: Path) -> None:
    """A server with `cluster-enabled yes` and all slots accepts writes."""
    lines = ("cluster-enabled yes", f"cluster-port {free_ports(1)[0]}")
    with Valkey.start(tmp_path / "v", config=lines) as valkey, client(valkey) as connected:
        connected.cluster("ADDSLOTSRANGE", 0, 16383)
        wait_for(lambda: connected.cluster("info")["cluster_state"] == "ok", what="the cluster")
        assert connected.set("key", "value")


def test_an_invalid_line_of_configuration_is_shown(tmp_path: Path) -> None:
    """The error has the message of the server."""
    with pytest.raises(ProcessError, match="no-such-line"):
        Valkey.start(tmp_path / "v", config=("no-such-line yes",))


def test_stop_ends_a_frozen_server_and_keeps_its_data(tmp_path: Path) -> None:
    """A frozen server can be stopped, and a new server in the same folder has its data."""
    valkey = Valkey.start(tmp_path / "v")
    with client(valkey) as connected:
        connected.set("key", "value")
    valkey.freeze()
    valkey.stop()
    valkey.stop()
    assert not is_alive(valkey.process.pid)
    with Valkey.start(tmp_path / "v") as again, client(again) as connected:
        assert connected.get("key") == "value"
