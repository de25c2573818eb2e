"""A real control plane that anyone can have: etcd, the API server and all that it takes, on loopback."""

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
