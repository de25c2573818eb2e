"""Reports and changes of an operator, with a real API server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.controlplane import ControlPlane
from tests.webhook.checksums.manifests import CRON_JOB
from webhook.admission.patch import Add, encode
from webhook.checksums.commands import _print_explanation
from webhook.checksums.core.inputs import MissingPolicy
from webhook.checksums.core.keys import MANAGED, SECRETS
from webhook.checksums.core.kinds import DEPLOYMENT, KINDS, WorkloadId
from webhook.checksums.metrics import ChecksumMetrics
from webhook.checksums.settings import ChecksumSettings
from webhook.checksums.sources import SourceReader
from webhook.checksums.workload_report import State
from webhook.checksums.workloads_admin import WorkloadsAdmin
from webhook.errors import RejectedError
from webhook.kube.client import KubernetesClient
from webhook.runtime.clock import Clock

KEY = "checksum/secret.db"


@pytest.fixture
def admin(api: KubernetesClient) -> WorkloadsAdmin:
    """The reports and changes of an operator, with a kind that is added by a row."""
    settings, clock = ChecksumSettings(missing=MissingPolicy.HOLD), Clock()
    reader = SourceReader(lambda: settings, api, clock=clock, metrics=ChecksumMetrics(CollectorRegistry()))
    return WorkloadsAdmin(api, settings, reader, clock=clock, kinds=(*KINDS, CRON_JOB))


@pytest.fixture
def web(plane: ControlPlane, namespace: str) -> WorkloadId:
    """A Deployment that depends on the Secret `db`, stored without the webhook."""
    make_secret(plane, namespace, "one")
    plane.apply(deployment({SECRETS: "db"}), namespace=namespace)
    return WorkloadId(namespace, DEPLOYMENT, "web")


def make_secret(plane: ControlPlane, namespace: str, password: str) -> None:
    """Create or change the Secret `db`."""
    plane.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": password}},
        namespace=namespace,
    )


def deployment(annotations: dict[str, str]) -> dict[str, Any]:
    """Return a Deployment without pods."""
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "annotations": annotations},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }


async def test_an_explanation_has_the_patch_that_would_be_written(
    admin: WorkloadsAdmin, web: WorkloadId, capsys: pytest.CaptureFixture[str]
) -> None:
    """As operations, of which each is one line of the output."""
    explanation = await admin.explain(web)
    assert explanation is not None
    assert explanation.report.state is State.STALE
    managed, checksums = explanation.patch
    assert managed == Add(f"/metadata/annotations/{MANAGED.replace('/', '~1')}", KEY)
    assert isinstance(checksums, Add)
    assert checksums.path == "/spec/template/metadata/annotations"
    _print_explanation(web, explanation)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  patch: ")]
    assert [json.loads(line.removeprefix("  patch: ")) for line in lines] == [
        {"op": "add", "path": managed.path, "value": KEY},
        {"op": "add", "path": checksums.path, "value": checksums.value},
    ]


async def test_a_current_workload_has_no_patch(admin: WorkloadsAdmin, web: WorkloadId, plane: ControlPlane) -> None:
    """After the patch is applied, nothing would be written."""
    explanation = await admin.explain(web)
    assert explanation is not None
    patch = encode(explanation.patch).decode()
    plane.kubectl("patch", "deployment", "web", "--type=json", "-p", patch, "-n", web.namespace)
    again = await admin.explain(web)
    assert again is not None
    assert (again.report.state, again.patch) == (State.CURRENT, ())
    (report,) = await admin.status(await admin.find((web.namespace,)))
    assert (report.workload, report.state, report.sources) == ("deployment/web", State.CURRENT, again.report.sources)


async def test_removing_leaves_the_opt_in(admin: WorkloadsAdmin, web: WorkloadId, plane: ControlPlane) -> None:
    """A dry run writes nothing."""
    assert await admin.remove(web, dry_run=False) == ()
    explanation = await admin.explain(web)
    assert explanation is not None
    patch = encode(explanation.patch).decode()
    plane.kubectl("patch", "deployment", "web", "--type=json", "-p", patch, "-n", web.namespace)
    assert await admin.remove(web, dry_run=True) == (KEY,)
    assert await removed(admin, web) == (KEY,)
    assert await removed(admin, web) == ()
    stored = json.loads(plane.kubectl("get", "deployment", "web", "-n", web.namespace, "-o", "json").stdout)
    assert stored["metadata"]["annotations"][SECRETS] == "db"
    assert MANAGED not in stored["metadata"]["annotations"]


async def test_only_a_failed_rollout_can_be_resumed(admin: WorkloadsAdmin, web: WorkloadId) -> None:
    """The message says why."""
    with pytest.raises(RejectedError, match=r"^The rollout of .*/deployment/web has not failed"):
        await admin.resume(web)
    with pytest.raises(RejectedError, match=r"^There is no .*/deployment/other\.$"):
        await admin.resume(WorkloadId(web.namespace, DEPLOYMENT, "other"))


async def test_other_workloads_are_not_reported(admin: WorkloadsAdmin, plane: ControlPlane, namespace: str) -> None:
    """Those without an opt-in, and those that do not exist."""
    plane.apply(deployment({}), namespace=namespace)
    assert await admin.explain(WorkloadId(namespace, DEPLOYMENT, "web")) is None
    assert await admin.explain(WorkloadId(namespace, CRON_JOB, "web")) is None
    assert await admin.status(await admin.find((namespace,))) == []


async def removed(admin: WorkloadsAdmin, workload_id: WorkloadId) -> tuple[str, ...]:
    """Remove the checksums, again if the Deployment controller wrote at the same time."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(RejectedError):
                return await admin.remove(workload_id, dry_run=False)
