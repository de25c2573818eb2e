"""The components of a control plane, and options of tests."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tests.controlplane.audit import AuditLevel


class Component(StrEnum):
    """The servers, in the order in which they start."""

    ETCD = "etcd"
    APISERVER = "apiserver"
    CONTROLLER_MANAGER = "controller-manager"
    SCHEDULER = "scheduler"
    KWOK = "kwok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of a control plane.

    Attributes:
        nodes: Number of nodes simulated by kwok.
        durable: Whether etcd synchronizes to disk; only needed by a test that simulates a power failure.
        audit_level: What the audit log contains of each request. It never contains Secrets and ConfigMaps.
        apiserver_args: Flags of the API server, such as `--max-requests-inflight=30`; the last flag of a name counts.
        etcd_args: Flags of etcd.
        controller_manager_args: Flags of the controller manager.
        scheduler_args: Flags of the scheduler.
        kwok_args: Flags of kwok.
    """

    nodes: int = 2
    durable: bool = False
    audit_level: AuditLevel = AuditLevel.METADATA
    apiserver_args: tuple[str, ...] = ()
    etcd_args: tuple[str, ...] = ()
    controller_manager_args: tuple[str, ...] = ()
    scheduler_args: tuple[str, ...] = ()
    kwok_args: tuple[str, ...] = ()
