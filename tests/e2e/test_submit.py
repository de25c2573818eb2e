"""`rollonce submit` against real servers: each delivery has one run, and each client gets a true answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec
import pytest

from tests.controlplane import ControlPlane
from tests.e2e.api_front import ApiFront, api_front
from tests.e2e.objects import RUNS, Object, run, runs
from tests.e2e.submit_command import Submitting, submit
from tests.rollonce import Installation
from webhook.dedupe.core.answers import unavailable
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.run import ORCHESTRATION_RUNS

pytestmark = pytest.mark.usefixtures("installation")

CLIENTS: Final = 16
#: A client that may create runs, and not read them.
CREATOR: Final = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: creator}
rules:
- {apiGroups: [orchestration.proompteng.ai], resources: [orchestrationruns], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: creator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: creator}
subjects: [{kind: ServiceAccount, name: default}]
"""


@pytest.fixture
def delivery_id() -> str:
    """Return a new delivery id."""
    return str(uuid4())


@pytest.fixture
def front(plane: ControlPlane, tmp_path: Path) -> Iterator[ApiFront]:
    """Run a proxy before the API server."""
    with api_front(plane, tmp_path) as running:
        yield running


def set_phase(plane: ControlPlane, namespace: str, name: str, phase: str) -> None:
    """Write a status, as the orchestrator does."""
    patch = json.dumps({"status": {"phase": phase, "runId": "r-1"}})
    plane.kubectl("patch", RUNS, name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)


def names(plane: ControlPlane, namespace: str) -> list[str]:
    """Return the names of the stored runs."""
    return [found["metadata"]["name"] for found in runs(plane, namespace)]


def test_a_duplicate_is_a_success_that_shows_the_run_as_it_is_now(
    plane: ControlPlane, namespace: str, delivery_id: str
) -> None:
    """The first submission creates, the second gets that run with its phase of now, under whatever name it asked."""
    here = partial(submit, plane.kubeconfig)
    made = here([run(delivery_id, name="first")], "-n", namespace)
    assert (made.code, made.messages) == (0, "")
    (stored,) = runs(plane, namespace)
    first = {
        "name": "first",
        "namespace": namespace,
        "uid": stored["metadata"]["uid"],
        "phase": "",
        "runId": "",
        "idempotent": False,
        "payloadMismatch": False,
        "stored": True,
    }
    assert made.run == first
    set_phase(plane, namespace, "first", "Running")
    again = here([run(delivery_id, name="second")], "-n", namespace)
    assert (again.code, again.messages) == (0, "")
    assert again.run == {**first, "phase": "Running", "runId": "r-1", "idempotent": True}
    assert names(plane, namespace) == ["first"]


def test_several_documents_are_submitted_and_their_outputs_are_for_people_and_programs(
    plane: ControlPlane, namespace: str, delivery_id: str
) -> None:
    """A generated name is found again; parameters that differ are told, and have an exit code; others go on."""
    equal = run(delivery_id, prefix="build-", parameters={"a": "1"})
    other = run(delivery_id, prefix="build-", parameters={"a": "2"})
    here = partial(submit, plane.kubeconfig)
    mixed = here([equal, run(None, name="plain"), other, equal], "-n", namespace)
    assert mixed.code == 3
    assert [(one["idempotent"], one["payloadMismatch"]) for one in mixed.runs] == [
        (False, False),
        (False, False),
        (True, True),
        (True, False),
    ]
    build = mixed.runs[0]["name"]
    assert [one["name"] for one in mixed.runs] == [build, "plain", build, build]
    assert 'document 3 of standard input (OrchestrationRun "build-"): the parameters (spec.parameters) differ' in (
        mixed.messages
    )
    assert here([equal], "-n", namespace, "-o", "name").output == (
        f"orchestrationrun.orchestration.proompteng.ai/{build}\n"
    )
    table = here([equal], "-n", namespace, "-o", "table").output.splitlines()
    assert [line.split() for line in table] == [
        ["NAMESPACE", "RUN", "PHASE", "RUN", "ID", "RESULT"],
        [namespace, build, "Pending", "already", "there"],
    ]
    assert f"- name: {build}\n  namespace: {namespace}\n" in here([equal], "-n", namespace, "-o", "yaml").output
    assert sorted(names(plane, namespace)) == [build, "plain"]


def test_many_clients_at_once_get_one_run(plane: ControlPlane, namespace: str, delivery_id: str) -> None:
    """Each ends with exit code 0 and prints the same run; one of them has created it."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(Submitting(plane.kubeconfig, [run(delivery_id, name=f"run-{number}")], "-n", namespace))
            for number in range(CLIENTS)
        ]
        results = [client.result() for client in clients]
    assert {result.code for result in results} == {0}
    assert [result.run["idempotent"] for result in results].count(False) == 1
    (name,) = names(plane, namespace)
    assert {result.run["name"] for result in results} == {name}


def test_a_run_is_followed_to_its_end(plane: ControlPlane, namespace: str, delivery_id: str) -> None:
    """Each phase is told; the exit code is that of the outcome, also for a run that had ended before."""
    manifest = run(delivery_id, name="job")
    with Submitting(plane.kubeconfig, [manifest], "-n", namespace, "--wait") as running:
        running.wait_for(f"rollonce: {namespace}/job: Pending")
        set_phase(plane, namespace, "job", "Running")
        running.wait_for(f"rollonce: {namespace}/job: Running")
        set_phase(plane, namespace, "job", "Succeeded")
        done = running.result()
    assert (done.code, done.run["phase"], done.run["idempotent"]) == (0, "Succeeded", False)
    assert done.messages.endswith(f"rollonce: {namespace}/job: Succeeded\n")
    set_phase(plane, namespace, "job", "Failed")
    ended = submit(plane.kubeconfig, [manifest], "-n", namespace, "--wait")
    assert (ended.code, ended.run["phase"], ended.run["idempotent"]) == (4, "Failed", True)
    set_phase(plane, namespace, "job", "Running")
    late = submit(plane.kubeconfig, [manifest], "-n", namespace, "--wait", "--timeout=1s")
    assert (late.code, late.run["phase"]) == (1, "Running")
    assert "job has not ended in time: Running" in late.messages
    plane.kubectl("delete", RUNS, "job", "-n", namespace)
    gone = submit(plane.kubeconfig, [manifest], "-n", namespace)
    assert (gone.code, gone.run["stored"], gone.run["phase"]) == (0, False, "")
    lost = submit(plane.kubeconfig, [manifest], "-n", namespace, "--wait")
    assert (lost.code, "job was deleted; how it ended is unknown" in lost.messages) == (1, True)
    # Another delivery gets the name: its phase is not that of the deleted run.
    assert submit(plane.kubeconfig, [run("another", name="job")], "-n", namespace).code == 0
    set_phase(plane, namespace, "job", "Succeeded")
    gone = submit(plane.kubeconfig, [manifest], "-n", namespace)
    assert (gone.code, gone.run["stored"], gone.run["phase"]) == (0, False, "")


def test_a_webhook_that_cannot_be_called_is_waited_for(
    plane: ControlPlane, installation: Installation, namespace: str, delivery_id: str
) -> None:
    """A 500 "failed calling webhook" is told and tried again; the time is bounded."""
    ports = installation.balancer.ports
    installation.balancer.ports = ()
    installation.balancer.cut()
    try:
        bounded = submit(plane.kubeconfig, [run(delivery_id)], "-n", namespace, "--timeout=2s")
        assert (bounded.code, bounded.runs) == (1, [])
        assert "Submit the same again later: nothing is created twice." in bounded.messages
        assert "failed calling webhook" in bounded.messages
        with Submitting(plane.kubeconfig, [run(delivery_id)], "-n", namespace) as running:
            running.wait_for("failed calling webhook")
            installation.balancer.ports = ports
            result = running.result()
    finally:
        installation.balancer.ports = ports
    assert (result.code, result.run["idempotent"]) == (0, False)
    assert names(plane, namespace) == [result.run["name"]]


def test_an_answer_that_is_not_known_yet_is_waited_for(
    plane: ControlPlane, front: ApiFront, namespace: str, delivery_id: str
) -> None:
    """As long as `retryAfterSeconds` says; longer than the time that there is, it is not waited at all."""
    refusal = unavailable(
        ORCHESTRATION_RUNS, DeliveryKey(namespace, "build", delivery_id), "Redis is down", retry_after=2
    )
    answer = 503, msgspec.json.encode(refusal.status)
    front.answers = [answer, (429, b"too many")]
    waited = submit(front.kubeconfig, [run(delivery_id, name="late")], "-n", namespace)
    assert (waited.code, waited.run["name"]) == (0, "late")
    first, second = waited.messages.splitlines()
    assert "the API server answered 503: it is unknown now whether delivery" in first
    assert "trying again in 2." in first
    assert "the API server answered 429; trying again in" in second
    front.answers = [answer]
    bounded = submit(front.kubeconfig, [run(delivery_id, name="late")], "-n", namespace, "--timeout=2s")
    assert (bounded.code, "gave up, because the API server answered 503" in bounded.messages) == (1, True)
    assert front.creates == [False] * 4
    assert names(plane, namespace) == ["late"]


def test_a_lost_reply_makes_no_second_run(
    plane: ControlPlane, front: ApiFront, namespace: str, delivery_id: str
) -> None:
    """The second create is answered with the run of the first; before it, a dry run has shown that it will be."""
    front.lost_replies = 1
    result = submit(front.kubeconfig, [run(delivery_id, prefix="build-")], "-n", namespace)
    assert (result.code, result.run["idempotent"]) == (0, True)
    assert "closed the connection" in result.messages
    assert front.creates == [False, True]
    assert names(plane, namespace) == [result.run["name"]]


def test_a_run_that_vanishes_between_two_requests_is_created_or_known(
    plane: ControlPlane, front: ApiFront, namespace: str, delivery_id: str
) -> None:
    """Storage says that a name is taken, and nothing is there: it is asked once more before that is an answer."""
    taken = 409, b'{"reason": "AlreadyExists", "details": {"name": "ghost", "kind": "orchestrationruns"}}'
    front.answers = [taken, taken]
    known = submit(front.kubeconfig, [run(delivery_id, name="ghost")], "-n", namespace)
    assert (known.code, known.run["stored"], known.run["idempotent"]) == (0, False, True)
    front.answers = [taken]
    made = submit(front.kubeconfig, [run(delivery_id, name="ghost")], "-n", namespace)
    assert (made.code, made.run["idempotent"]) == (0, False)
    assert names(plane, namespace) == ["ghost"]


def test_what_is_refused_is_told_in_one_line(plane: ControlPlane, namespace: str, delivery_id: str) -> None:
    """A client without rights, a schema that says no, an unknown field, and an unknown namespace."""
    plane.kubectl("apply", "-n", namespace, "-f", "-", input=CREATOR)
    client = plane.kubeconfig_for("default", namespace)
    wrong: Object = {**run(delivery_id, name="wrong")}
    wrong["spec"]["parameters"] = {"a": 1}
    unknown: Object = {**run(delivery_id, name="unknown")}
    unknown["spec"]["paramters"] = {"a": "1"}
    elsewhere = {**run(delivery_id, name="elsewhere")}
    elsewhere["metadata"] = {"name": "elsewhere", "namespace": "kube-public"}
    refused = submit(client, [wrong, elsewhere, unknown])
    assert (refused.code, refused.runs) == (1, [])
    lines = refused.messages.splitlines()
    assert [word in line for word, line in zip(("answered 422", "answered 403", "answered 400"), lines, strict=True)]
    for line, word in zip(lines, ("spec.parameters.a", "cannot create resource", "spec.paramters"), strict=True):
        assert word in line
    missing = submit(plane.kubeconfig, [run(delivery_id, name="a")], "-n", "nowhere")
    assert (missing.code, 'namespaces "nowhere" not found' in missing.messages) == (1, True)


def test_a_client_that_cannot_read_runs_still_gets_its_run(
    plane: ControlPlane, namespace: str, delivery_id: str
) -> None:
    """The namespace is that of the kubeconfig; a phase that cannot be read is told, and cannot be followed."""
    plane.kubectl("apply", "-n", namespace, "-f", "-", input=CREATOR)
    client = plane.kubeconfig_for("default", namespace)
    made = submit(client, [run(delivery_id, name="first")])
    again = submit(client, [run(delivery_id, name="second")])
    assert (made.code, again.code) == (0, 0)
    assert (again.run["namespace"], again.run["name"], again.run["uid"]) == (namespace, "first", made.run["uid"])
    assert (again.run["stored"], again.run["idempotent"]) == (None, True)
    assert "its phase cannot be read: The API server answered 403" in again.messages
    followed = submit(client, [run(delivery_id, name="third")], "--wait")
    assert (followed.code, "may not be read, so that it cannot be followed" in followed.messages) == (1, True)


def test_files_are_submitted_in_their_order(
    plane: ControlPlane, namespace: str, tmp_path: Path, delivery_id: str
) -> None:
    """YAML from a file after what was on standard input; a file that is not there is a wrong command line."""
    (tmp_path / "run.yaml").write_text(
        "apiVersion: orchestration.proompteng.ai/v1alpha1\nkind: OrchestrationRun\nmetadata: {name: second}\n"
        "spec: {orchestrationRef: {name: build}, deliveryId: 2026-01-31}\n"
    )
    here = partial(submit, plane.kubeconfig, [run(delivery_id, name="first")], "-n", namespace)
    result = here("-f", str(tmp_path / "run.yaml"))
    assert (result.code, [one["name"] for one in result.runs]) == (0, ["first", "second"])
    assert plane.get(RUNS, "second", namespace)["spec"]["deliveryId"] == "2026-01-31"
    missing = here("-f", "none.yaml")
    assert missing.code == 2
    assert missing.messages == "rollonce: error: Cannot read none.yaml: No such file or directory.\n"


def test_nothing_is_sent_if_a_document_is_wrong(plane: ControlPlane, namespace: str, delivery_id: str) -> None:
    """The exit code is 2, and the runs before the document are not created."""
    result = submit(plane.kubeconfig, [run(delivery_id, name="a"), run(None)], "-n", namespace)
    assert (result.code, result.output) == (2, "")
    assert "document 2 of standard input" in result.messages
    assert "needs a spec.deliveryId" in result.messages
    assert names(plane, namespace) == []
