"""The programs compare what is registered with their settings, on a real API server, and never write it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.controlplane import ControlPlane
from tests.controlplane.polling import wait_for
from tests.e2e.certificates.helpers import another, waits_for
from tests.e2e.objects import deployment, secret, template_annotations
from tests.rollonce import ROOT, Installation, Replica, SelfManaged
from tests.valkey import Valkey

pytestmark = pytest.mark.cluster

HOME = "registered"
MISSING = "mutate-listed-deployments.rollonce.proompteng.ai in MutatingWebhookConfiguration rollonce: is missing"
DIFFERS = "webhook configurations differ from the settings"
WRITES = ("create", "update", "patch", "delete")
METRIC = "rollonce_registration_differences"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Start the deduplication store."""
    with Valkey.start(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def installation(
    plane: ControlPlane, store: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Start a server and a controller without an operator's list, and the stock webhook configurations."""
    plane.kubectl("create", "namespace", HOME)
    with Installation.start(
        plane,
        tmp_path_factory.mktemp("servers"),
        redis_url=store.url,
        settings=("--drain=0s",),
        managed=SelfManaged(HOME, controller_settings=("--rollout-checksums-access=cluster",)),
    ) as running:
        yield running
    plane.kubectl("delete", "namespace", HOME, "--wait=false")


@pytest.fixture(autouse=True)
def stock(installation: Installation) -> None:
    """Register what the settings of the installation say."""
    installation.apply()


@pytest.fixture
def listed(namespace: str, tmp_path: Path) -> Path:
    """Write settings with an operator's list for a namespace."""
    path = tmp_path / "settings.yaml"
    path.write_text(
        json.dumps({"rolloutChecksums": {"enabled": True, "secrets": ["database"], "namespaces": [namespace]}})
    )
    return path


def events(replica: Replica, event: str) -> list[dict[str, str]]:
    """Return the lines of a log with this event."""
    lines = [json.loads(line) for line in replica.process.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def shell(plane: ControlPlane, command: str) -> str:
    """Run a command line as it is printed, with `rollonce` and `kubectl` on the PATH."""
    path = f"{Path(sys.executable).parent}:{plane.programs.kubectl.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(plane.kubeconfig), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_list_with_the_stock_webhooks_is_not_ready(
    plane: ControlPlane, installation: Installation, store: Valkey, namespace: str, listed: Path
) -> None:
    """The reason names the webhook and the command; after the command, a new Deployment gets one revision."""
    since = plane.audit.offset()
    with another(installation, store, f"--config={listed}") as server:
        waits_for(server, MISSING)
        assert server.metric(METRIC) == 3
        (line,) = events(server, DIFFERS)
        command = line["problem"].partition("Apply what the settings say by: ")[2]
        assert command.startswith("rollonce webhooks --")
        assert command in server.health("/readyz")[1]
        shell(plane, command)
        server.process.wait_ready()
        assert server.metric(METRIC) == 0
        # The other server was ready before, and stays so; it says what it sees.
        (first,) = installation.replicas
        wait_for(lambda: first.metric(METRIC) == 3, 40, what="the other server to compare again")
        assert first.health("/readyz")[0] == 200
        assert "is registered, but not wanted by the settings" in events(first, DIFFERS)[0]["problem"]
        installation.balancer.ports = (server.port,)
        installation.balancer.cut()
        web = deployment(replicas=0)
        (container,) = web["spec"]["template"]["spec"]["containers"]
        container["envFrom"] = [{"secretRef": {"name": "database"}}]
        plane.apply([secret("database", password="one"), web], namespace=namespace)
        assert set(template_annotations(plane, namespace)) == {"checksum/secret.database"}
        assert plane.get("deployment", "web", namespace)["metadata"]["generation"] == 1
    for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        writes = [event for event in plane.audit.events(since=since, resource=kind) if event.verb in WRITES]
        # The controller writes caBundle.
        agents = {(event.verb, event.user_agent.partition("/")[0]) for event in writes}
        assert agents <= {("patch", "kubectl"), ("create", "kubectl"), ("patch", "rollonce-controller")}


def test_a_command_compares_too(plane: ControlPlane, installation: Installation, listed: Path) -> None:
    """Exit code 0 if nothing differs, and 1 with the differences and the command otherwise."""
    common = f"rollonce webhooks --check --namespace={HOME} --webhooks-url={installation.url}"
    assert shell(plane, common) == "Differences: 0.\n"
    output = shell(plane, f"{common} --config={listed} && exit 1 || [ $? = 1 ]")
    assert output.startswith(MISSING)
    assert "Differences: 3. Apply what is wanted by: rollonce webhooks --" in output


def test_without_the_right_to_read_them_nothing_is_compared(
    plane: ControlPlane, installation: Installation, store: Valkey, namespace: str, listed: Path
) -> None:
    """It is said once, no request is forbidden, and the server is ready."""
    kubeconfig = plane.kubeconfig_for("default", namespace)
    since = plane.audit.offset()
    settings = (
        *(f"--redis-url={store.url}", "--drain=0s", f"--config={listed}", f"--webhooks-url={installation.url}"),
        *(*installation._issue(9), f"--namespace={namespace}"),
    )
    server = installation._program("serve", 9, kubeconfig, settings, {})
    try:
        server.process.wait_ready()
        assert len(events(server, "webhook configurations are not compared, there is no right to get them")) == 1
        assert math.isnan(server.metric(METRIC))
    finally:
        server.process.kill()
    user = f"system:serviceaccount:{namespace}:default"
    asked = list(plane.audit.events(since=since, user=user))
    assert "selfsubjectaccessreviews" in str([event.request_uri for event in asked])
    assert [event.request_uri for event in asked if "webhookconfigurations" in event.request_uri] == []


def test_before_anything_is_registered_a_server_is_ready(
    plane: ControlPlane, installation: Installation, store: Valkey
) -> None:
    """Servers have to run before requests are sent to them; the log has the command."""
    installation.unregister()
    with another(installation, store) as server:
        server.process.wait_ready()
        (line,) = events(server, "webhooks are not registered")
        assert line["problem"].startswith("Apply them by: rollonce webhooks --")
        webhooks = sum(len(one["webhooks"]) for one in yaml.safe_load_all(installation.configurations()))
        assert server.metric(METRIC) == webhooks
        shell(plane, line["problem"].partition(": ")[2])
    common = f"rollonce webhooks --check --namespace={HOME} --webhooks-url={installation.url}"
    assert shell(plane, common) == "Differences: 0.\n"
