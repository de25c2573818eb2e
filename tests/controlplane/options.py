"""What there is in a control plane, and what a test may want otherwise."""

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
    """What a test may want otherwise.

    Attributes:
        nodes: How many of kwok's nodes there are.
        durable: Whether etcd waits for the disk; only a test that cuts the power needs it.
        audit_level: How much of each request the audit log holds. Bodies of Secrets and ConfigMaps are never in it.
        apiserver_args: Flags for the API server, such as `--max-requests-inflight=30`; the last one of a name counts.
        etcd_args: Flags for etcd.
        controller_manager_args: Flags for the controller manager.
        scheduler_args: Flags for the scheduler.
        kwok_args: Flags for kwok.
    """

    nodes: int = 2
    durable: bool = False
    audit_level: AuditLevel = AuditLevel.METADATA
    apiserver_args: tuple[str, ...] = ()
    etcd_args: tuple[str, ...] = ()
    controller_manager_args: tuple[str, ...] = ()
    scheduler_args: tuple[str, ...] = ()
    kwok_args: tuple[str, ...] = ()
