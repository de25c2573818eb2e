"""A real control plane that anyone can have: etcd, the API server and all that it takes, on loopback.

    with ControlPlane.start() as plane:
        plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
        robot = plane.kubeconfig_for("default", "default")
        plane.kubectl("get", "configmaps", kubeconfig=robot, check=False)
        plane.freeze("etcd")

Tests ask for the fixtures `plane` (one that all share) and `namespace`; who breaks a part starts one of his own.
Programs are built at first use, or beforehand by `python -m tests.controlplane build`.
"""

from tests.controlplane.audit import AuditEvent, AuditLevel
from tests.controlplane.commands import Result
from tests.controlplane.errors import BuildError, CommandError, ControlPlaneError, ProcessError
from tests.controlplane.options import Component, Options
from tests.controlplane.plane import ControlPlane
from tests.controlplane.polling import wait_for
from tests.controlplane.process import ManagedProcess

__all__ = [
    "AuditEvent",
    "AuditLevel",
    "BuildError",
    "CommandError",
    "Component",
    "ControlPlane",
    "ControlPlaneError",
    "ManagedProcess",
    "Options",
    "ProcessError",
    "Result",
    "wait_for",
]
