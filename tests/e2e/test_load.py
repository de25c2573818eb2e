"""Many writers and a low limit of requests: the server's reads are not blocked by writes that wait for the server."""

from __future__ import annotations

from functools import partial

import pytest

from tests.controlplane import ControlPlane, Options
from tests.e2e.objects import deployment, run, secret
from tests.e2e.raw import DEPLOYMENTS_PATH, RUNS_PATH, concurrently, raw_client, webhook_failures
from tests.rollonce import ROOT, Installation
from tests.valkey import Valkey

MANIFESTS = ROOT / "deploy" / "manifests"
WRITERS = 64
WRITES = 640


@pytest.mark.cluster
async def test_64_writers_with_a_limit_of_30_requests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With an API server limited to 30 requests in flight, every write of 64 writers succeeds.

    Writers and servers are ServiceAccounts, as in a cluster; requests of an administrator are exempt from the limit.
    """
    folder = tmp_path_factory.mktemp("load")
    limits = Options(apiserver_args=("--max-requests-inflight=20", "--max-mutating-requests-inflight=10"))
    with ControlPlane.start(folder / "plane", options=limits) as plane, Valkey.start(folder / "valkey") as store:
        plane.kubectl("apply", "-f", MANIFESTS / "namespace.yaml", "-f", MANIFESTS / "rbac.yaml")
        plane.kubectl("apply", "-f", MANIFESTS / "priority.yaml")
        plane.kubectl("apply", "-k", MANIFESTS / "access", "-n", "default")
        plane.kubectl("create", "serviceaccount", "writer", "-n", "default")
        plane.kubectl(
            "create", "clusterrolebinding", "writer", "--clusterrole=admin", "--serviceaccount=default:writer"
        )
        plane.kubectl("apply", "-f", ROOT / "tests" / "e2e" / "crd.yaml")
        plane.kubectl(
            "create", "clusterrole", "runs", "--verb=*", "--resource=orchestrationruns.orchestration.proompteng.ai"
        )
        plane.kubectl("create", "clusterrolebinding", "runs", "--clusterrole=runs", "--serviceaccount=default:writer")
        plane.apply([secret(f"source-{number}", password=str(number)) for number in range(3)], namespace="default")
        with Installation.start(
            plane,
            folder / "servers",
            redis_url=store.url,
            replicas=2,
            kubeconfig=plane.kubeconfig_for("rollonce", "rollonce"),
            settings=("--dedupe-namespaces=default",),
        ):
            plane.process("controller-manager").kill()  # its requests for these objects would add load
            before = webhook_failures(plane)
            async with raw_client(plane.kubeconfig_for("writer", "default"), connections=WRITERS) as client:
                jobs = []
                for number in range(WRITES):
                    web = deployment(f"web-{number}", secrets="source-0, source-1, source-2")
                    submit = run(f"d-{number}", name=f"run-{number}")
                    jobs.append(partial(client.create, DEPLOYMENTS_PATH.format("default"), web))
                    jobs.append(partial(client.create, RUNS_PATH.format("default"), submit))
                replies = await concurrently(WRITERS, jobs)
            refused = [reply.body[:300] for reply in replies if reply.status != 201]
            assert refused == []
            assert webhook_failures(plane) == before


async def test_a_workload_with_many_names_does_not_delay_others(
    plane: ControlPlane, installation: Installation, namespace: str
) -> None:
    """Deployments that name thousands of objects are answered in time, and so is a run at the same time."""
    names = ",".join(f"s{number}" for number in range(5000))
    before = webhook_failures(plane)
    async with raw_client(plane.kubeconfig) as client:
        jobs = [
            partial(client.create, DEPLOYMENTS_PATH.format(namespace), deployment(f"web-{number}", secrets=names))
            for number in range(6)
        ]
        jobs.append(partial(client.create, RUNS_PATH.format(namespace), run("d", name="concurrent")))
        replies = await concurrently(len(jobs), jobs)
    assert [reply.status for reply in replies] == [201] * len(jobs)
    assert webhook_failures(plane) == before
    assert installation.metric("rollonce_http_refused_total") == 0
