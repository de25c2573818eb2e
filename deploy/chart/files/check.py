"""What `helm test` runs: a changed Secret rolls a Deployment, and a second run of a delivery is refused.

Everything that it creates is deleted again, also after a failure. It uses the client of the release's image.
"""

# ruff: noqa: T201 - what it prints is the log of its pod

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import uuid
from typing import Any

from webhook.errors import RollonceError
from webhook.kube.api import MERGE_PATCH, Reply
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.runtime.clock import Clock

SECONDS = 60.0
PAUSE = 1.0
RUNS = "/apis/orchestration.proompteng.ai/v1alpha1/namespaces/{}/orchestrationruns"


class FailedError(Exception):
    """A step did not do what it has to."""


class Check:
    """The steps.

    Args:
        api: The API server.
        name: Of all objects.
    """

    def __init__(self, api: KubernetesClient, name: str) -> None:
        self._api = api
        self._name = name
        self._deadline = Clock().deadline(SECONDS)

    async def rollout(self, namespace: str) -> None:
        """Change a Secret, and wait until the Deployment that names it has another checksum."""
        secrets, deployments = (
            f"/api/v1/namespaces/{namespace}/secrets",
            f"/apis/apps/v1/namespaces/{namespace}/deployments",
        )
        secret, deployment = f"{secrets}/{self._name}", f"{deployments}/{self._name}"
        labels = {"app": self._name}
        annotations = {"rollout-checksums.proompteng.ai/secrets": self._name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "none", "image": "none"}]}}
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        try:
            await self._expect(201, "POST", secrets, {"metadata": {"name": self._name}, "stringData": {"value": "one"}})
            written = {"metadata": {"name": self._name, "annotations": annotations}, "spec": spec}
            before = self._checksum(await self._expect(201, "POST", deployments, written))
            if not before:
                raise FailedError("The Deployment was created without a checksum: the webhook was not called.")
            await self._expect(200, "PATCH", secret, {"stringData": {"value": "two"}}, MERGE_PATCH)
            while self._checksum(await self._expect(200, "GET", deployment)) == before:
                if self._deadline.remaining() < PAUSE:
                    raise FailedError(f"The controller has not rolled the Deployment in {SECONDS:.0f} s.")
                await asyncio.sleep(PAUSE)
        finally:
            await self._delete(deployment, secret)
        print(f"A changed Secret has rolled a Deployment in {namespace}.")

    async def duplicate(self, namespace: str) -> None:
        """Create two runs of one delivery: only the first is stored."""
        runs, delivery = RUNS.format(namespace), str(uuid.uuid4())
        names = [f"{self._name}-{number}" for number in (1, 2)]
        spec = {"deliveryId": delivery, "orchestrationRef": {"name": self._name}}
        first, second = ({"metadata": {"name": name}, "spec": spec} for name in names)
        try:
            reply = await self._call("POST", runs, _run(first))
            if reply.status == 404:
                print("There are no OrchestrationRuns in this cluster, so that no duplicate was tried.")
                return
            if reply.status != 201:
                raise FailedError(f"The first run was refused: {_message(reply)}")
            reply = await self._call("POST", runs, _run(second))
            if reply.status != 409 or delivery not in _message(reply):
                raise FailedError(f"The second run of a delivery got {reply.status}: {_message(reply)}")
        finally:
            await self._delete(*(f"{runs}/{name}" for name in names))
        print(f"A second run of a delivery was refused in {namespace}.")

    async def _expect(
        self, status: int, method: str, path: str, body: dict[str, Any] | None = None, kind: str = "application/json"
    ) -> dict[str, Any]:
        reply = await self._call(method, path, body, kind)
        if reply.status != status:
            raise FailedError(f"{method} {path}: {reply.status} {_message(reply)}")
        found: dict[str, Any] = json.loads(reply.body)
        return found

    async def _call(self, method: str, path: str, body: dict[str, Any] | None, kind: str = "application/json") -> Reply:
        """Send a request, again while the answer says that it is not known yet."""
        data = None if body is None else json.dumps(body).encode()
        while True:
            reply = await self._api.send(method, path, data, self._deadline, content_type=kind)
            if reply.status not in {429, 503} or self._deadline.remaining() < PAUSE:
                return reply
            await asyncio.sleep(PAUSE)

    async def _delete(self, *paths: str) -> None:
        deadline = Clock().deadline(SECONDS)
        for path in paths:
            reply = await self._api.send("DELETE", path, None, deadline)
            if not reply.ok and reply.status != 404:
                print(f"not deleted: {path}: {reply.status} {_message(reply)}", file=sys.stderr)

    def _checksum(self, deployment: dict[str, Any]) -> str:
        annotations = deployment["spec"]["template"]["metadata"].get("annotations", {})
        return str(annotations.get(f"checksum/secret.{self._name}", ""))


def _run(run: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "orchestration.proompteng.ai/v1alpha1", "kind": "OrchestrationRun", **run}


def _message(reply: Reply) -> str:
    try:
        return str(json.loads(reply.body)["message"])
    except (ValueError, KeyError, TypeError):
        return reply.body.decode(errors="replace")


async def check(options: argparse.Namespace) -> None:
    """Run the steps."""
    api = KubernetesClient(await load_configuration(options.kubeconfig), user_agent="rollonce-helm-test")
    try:
        steps = Check(api, options.name)
        if options.workloads:
            await steps.rollout(options.workloads)
        await steps.duplicate(options.runs)
    finally:
        await api.close()


def main() -> int:
    """Return 0 if all steps have done what they have to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="name of the objects")
    parser.add_argument(
        "--workloads", default="", help="namespace of the Deployment; none if only named Secrets may be read"
    )
    parser.add_argument("--runs", required=True, help="namespace of the runs")
    parser.add_argument("--kubeconfig", default="", help="by default the pod's ServiceAccount")
    try:
        asyncio.run(check(parser.parse_args()))
    except (FailedError, RollonceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
