"""A real control plane for tests: etcd, the API server, its controllers and kwok, on loopback.

    with ControlPlane.start() as plane:
        plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
        robot = plane.kubeconfig_for("default", "default")
        plane.kubectl("get", "configmaps", kubeconfig=robot, check=False)
        plane.freeze("etcd")

Tests use the fixtures `plane` (shared by all tests) and `namespace`; a test that breaks a component starts its own
control plane. Programs are built at first use, or before by `python -m tests.controlplane build`.
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
