"""Names, times and texts that no honest caller sends: clean answers, and nothing raw in them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any
from urllib.parse import quote, unquote
from uuid import uuid4

import pytest
from yarl import URL

from tests.hostile.caller import MUTATE_DEPLOYMENTS, VALIDATE_RUNS, post, review, run_review
from tests.hostile.target import Target
from tests.rollonce import ROOT
from webhook.admission.response import Status, denied, encode
from webhook.admission.review import is_path_segment
from webhook.dedupe.core.run import ORCHESTRATION_RUNS
from webhook.errors import KubernetesError
from webhook.kube.client import checked_path

#: Moves the cursor and clears the line.
ESCAPE = "\x1b[2K\x1b[1A"
ODD_NAMES = (
    *("..", ".", "%2e%2e", "%2E", "a/../b", "a#b", "a?b=c", "a\0b", "", "a" * 300),
    *(ESCAPE, "a\nb", "\u202eabc", "a%2fb", "..%2f..", "a\\b"),
)
CREATED = ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00", "0001-01-01T00:00:00+23:59")


@pytest.mark.parametrize("field", ["name", "namespace", "uid"])
async def test_odd_names_in_a_request_give_400(target: Target, field: str) -> None:
    """A name that no object can have gives 400, and is not repeated."""
    for name in ODD_NAMES:
        body = review({"metadata": {"name": "web"}, "spec": {}}, **{field: name})
        response = await target.caller().send(post(MUTATE_DEPLOYMENTS, body))
        # Without a name or namespace an object is created by `generateName`, or has none; a uid is only shown.
        assert response.status in {200, 400}, name
        if field != "uid" and name and not is_path_segment(name):
            assert response.status == 400, name
        if name not in {"", "."}:
            assert name.encode() not in response.body or response.status == 200, name
    assert "\x1b" not in target.log()


@pytest.mark.parametrize("created", CREATED)
async def test_odd_times_are_no_defect(target: Target, created: str) -> None:
    """A time at the end or the beginning of the calendar is answered."""
    body = run_review(str(uuid4()), creationTimestamp=created)
    assert (await target.caller().send(post(VALIDATE_RUNS, body))).status in {200, 400}


async def test_odd_names_in_an_object_are_no_defect(target: Target) -> None:
    """Whatever names an object has, its review is answered, and no other object is looked up."""
    prefix = "rollout-checksums.proompteng.ai/"
    for name in ODD_NAMES:
        annotations = {prefix + "secrets": name, prefix + "configmaps": name}
        workload = {"metadata": {"name": "web", "annotations": annotations}, "spec": {"template": {}}}
        found = await target.caller().send(post(MUTATE_DEPLOYMENTS, review(workload)))
        assert found.status in {200, 400}, name
        for metadata in ({"name": name}, {"namespace": name}, {"uid": name}):
            body = run_review(str(uuid4()), **metadata)
            decided = await target.caller().send(post(VALIDATE_RUNS, body))
            assert decided.status in {200, 400}, (name, metadata)


async def test_a_delivery_id_is_shown_escaped_and_cut(target: Target) -> None:
    """Control characters of a deliveryId reach neither the answer nor the log."""
    delivery = ESCAPE + str(uuid4()) + "x" * 100_000
    for _ in range(2):
        response = await target.caller().send(post(VALIDATE_RUNS, run_review(delivery), query="timeout=1s"))
        assert response.status == 200
        assert len(response.body) < 5_000
        assert b"\\u001b" not in response.body
    assert "\\u001b" not in target.log()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_reaches_no_other_path(name: str) -> None:
    """The URL of an object is that of its name, or there is none."""
    for namespace, last in (("shop", name), (name, "web")):
        prefix = "/api/v1/namespaces/"
        path = f"{prefix}{quote(namespace, safe='')}/secrets/{quote(last, safe='')}"
        try:
            url = URL("https://api:6443" + checked_path(path))
        except KubernetesError:
            continue
        assert url.raw_path.startswith(prefix)
        parts: list[Any] = [unquote(part) for part in url.raw_path.removeprefix(prefix).split("/")]
        assert parts == [namespace, "secrets", last]
        assert not url.query_string
        assert not url.fragment


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_path_without_a_name_is_no_path(name: str) -> None:
    """An empty name would make the path of one object that of all of them."""
    with pytest.raises(KubernetesError):
        checked_path(ORCHESTRATION_RUNS.item("shop", name))


def test_a_message_is_escaped_and_cut() -> None:
    """What features quote in messages and audit annotations is shown escaped and cut, whatever they forgot."""
    status = Status(f"phase {ESCAPE}" + "x" * 100_000, "AlreadyExists", 409)
    sent = encode("uid", denied(status, audit_annotations={"phase": ESCAPE + "y" * 100_000}))
    assert len(sent) < 5_000
    assert b"\\u001b" not in sent
    assert b"\\\\x1b[2K" in sent


def test_the_parser_in_python_is_refused() -> None:
    """Without the compiled HTTP parser a program ends with code 1 and says what to do."""
    check = "from webhook.server.protocol import require_c_parser as check; check()"
    done = subprocess.run(
        [sys.executable, "-c", check],
        cwd=ROOT,
        env={**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Install aiohttp from a wheel" in done.stderr
