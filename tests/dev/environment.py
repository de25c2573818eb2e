"""The processes of a local installation, started in order and stopped together."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane import ControlPlane
from tests.controlplane.errors import ControlPlaneError
from tests.rollonce import ROOT, Installation, SelfManaged
from tests.valkey import Valkey

FOLDER = ROOT / ".dev"
_NAMESPACE = "rollonce"


@dataclass(frozen=True, slots=True)
class Environment:
    """A running installation.

    Attributes:
        plane: The control plane.
        valkey: The deduplication store.
        installation: The server and the controller.
        kubeconfig: Kubeconfig of an administrator, at a path that is the same at each start.
    """

    plane: ControlPlane
    valkey: Valkey
    installation: Installation
    kubeconfig: Path

    def shell_environment(self) -> Mapping[str, str]:
        """Return the environment in which the commands of the README work as they are written."""
        programs = str(self.plane.programs.kubectl.parent)
        return os.environ | {"KUBECONFIG": str(self.kubeconfig), "PATH": f"{programs}:{os.environ['PATH']}"}


@contextmanager
def running(report: Callable[[str], None]) -> Iterator[Environment]:
    """Start everything, and stop it at the end.

    Args:
        report: Called with a description of each step.

    Raises:
        ControlPlaneError: Something did not start, or an installation runs in this folder already.
    """
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as stack:
        _lock(stack)
        state = FOLDER / "state"
        shutil.rmtree(state, ignore_errors=True)
        report("Starting etcd, the API server, its controllers and a node")
        plane = stack.enter_context(ControlPlane.start(state / "plane"))
        kubeconfig = FOLDER / "kubeconfig"
        shutil.copy(plane.kubeconfig, kubeconfig)
        report("Starting Valkey")
        valkey = stack.enter_context(Valkey.start(state / "valkey"))
        report("Starting rollonce: the server and the controller, with self-managed certificates")
        plane.kubectl("create", "namespace", _NAMESPACE)
        installation = stack.enter_context(
            Installation.start(
                plane,
                state / "rollonce",
                redis_url=valkey.url,
                settings=("--drain=0s",),
                managed=SelfManaged(_NAMESPACE, controller_settings=("--rollout-checksums-access=cluster",)),
            )
        )
        yield Environment(plane, valkey, installation, kubeconfig)
        report("Stopping")


def _lock(stack: ExitStack) -> None:
    file = stack.enter_context((FOLDER / "lock").open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ControlPlaneError(
            "an installation runs in this folder already; stop it first, by Ctrl-C in its terminal"
        ) from None
