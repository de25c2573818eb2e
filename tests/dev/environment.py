"""The pieces of a local installation, started in order and stopped together."""

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
        kubeconfig: Of an administrator, at a path that stays the same.
    """

    plane: ControlPlane
    valkey: Valkey
    installation: Installation
    kubeconfig: Path

    def shell_environment(self) -> Mapping[str, str]:
        """The environment in which the README's commands work as they are typed."""
        programs = str(self.plane.programs.kubectl.parent)
        return os.environ | {"KUBECONFIG": str(self.kubeconfig), "PATH": f"{programs}:{os.environ['PATH']}"}


@contextmanager
def running(say: Callable[[str], None]) -> Iterator[Environment]:
    """Start everything, and stop it at the end.

    Args:
        say: Told of each step.

    Raises:
        ControlPlaneError: Something did not start, or another one runs in this folder.
    """
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as stack:
        _lock(stack)
        state = FOLDER / "state"
        shutil.rmtree(state, ignore_errors=True)
        say("Starting etcd, the API server, its controllers and a node")
        plane = stack.enter_context(ControlPlane.start(state / "plane"))
        kubeconfig = FOLDER / "kubeconfig"
        shutil.copy(plane.kubeconfig, kubeconfig)
        say("Starting Valkey")
        valkey = stack.enter_context(Valkey.start(state / "valkey"))
        say("Starting rollonce: the server and the controller, with certificates of their own making")
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
        say("Stopping")


def _lock(stack: ExitStack) -> None:
    file = stack.enter_context((FOLDER / "lock").open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ControlPlaneError(
            "another one is running in this folder; stop it by Ctrl-C in its terminal first"
        ) from None
