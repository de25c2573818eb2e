"""Free ports on loopback."""

import random
import socket

from tests.controlplane.errors import ControlPlaneError

_CHOICE = range(15_000, 32_000)
"""Below the ports that Linux (32768) and macOS (49152) give to outgoing connections, which could take a free port."""

_ATTEMPTS = 200


def free_ports(count: int) -> list[int]:
    """Return that many different ports of 127.0.0.1 on which no process listens.

    Raises:
        ControlPlaneError: Not enough free ports were found.
    """
    ports: list[int] = []
    for port in random.sample(_CHOICE, _ATTEMPTS):
        if _is_free(port):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise ControlPlaneError(f"{count} free ports between {_CHOICE.start} and {_CHOICE.stop} could not be found")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
