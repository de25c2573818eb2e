"""The command line as a process: exit codes, messages and output."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from certs.authority import new_authority
from certs.names import ServingNames
from certs.pem import encode_certificates

ROOT = Path(__file__).resolve().parent.parent.parent


def rollonce(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without the settings in the environment of the test run."""
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("ROLLONCE_", "KUBE", "JANGAR_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "webhook", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=inherited | environment,
    )


@pytest.mark.parametrize("arguments", [("--help",), ("serve", "-h"), ("webhooks", "--help")])
def test_help_is_printed(arguments: tuple[str, ...]) -> None:
    """A request for help exits with 0 and prints the usage."""
    done = rollonce(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: rollonce")


def test_the_version_is_that_of_the_package() -> None:
    """`--version` prints the version of pyproject.toml."""
    version = (ROOT / "pyproject.toml").read_text().partition('version = "')[2].partition('"')[0]
    assert version in rollonce("--version").stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (("fly",), {}, "No such command"),
        (("serve", "--fly"), {}, "No such option"),
        (("serve", "--listen", "here"), {}, "flag --listen: 'here' is not a valid listen: give host:port"),
        (("serve",), {"ROLLONCE_DRAIN": "soon"}, "environment variable ROLLONCE_DRAIN: 'soon' is not a valid drain"),
        (
            ("serve",),
            {"JANGAR_ORCHESTRATION_DEDUPE_RETENTION_DAYS": "0"},
            "JANGAR_ORCHESTRATION_DEDUPE_RETENTION_DAYS: '0' is not a valid dedupe.retentionDays",
        ),
        (("serve", "--redis-url", "http://hush:hush@x"), {}, "the value is not a valid redis.url"),
        (
            ("serve", "--redis-url", "rediss://x/?ssl_ca_certs=none.pem"),
            {},
            "redis.url: cannot read none.pem: No such file",
        ),
        (("serve", "--config", "none.yaml"), {}, "Cannot read the settings file none.yaml"),
        (("webhooks",), {}, "--service NAMESPACE/NAME or --url"),
        (("webhooks", "--service", "name"), {}, "give --namespace, or --service NAMESPACE/NAME"),
        (("webhooks", "--service", "a/b", "--namespace", "c"), {}, "name different namespaces"),
        (("webhooks", "--service", "a/b", "--url", "https://h"), {}, "either --service or --url"),
        (("webhooks", "--url", "https://h", "--controller", "A/b"), {}, "'A/b' is not NAMESPACE/NAME"),
        (("webhooks", "--url", "https://h", "--operator-list", "A"), {}, "--operator-list: give a name"),
        (("webhooks", "--namespace", "a", "--check", "--kubeconfig", "/none"), {}, "/none"),
        (("webhooks", "--url", "https://h", "--ca-file", "none.pem"), {}, "Cannot read none.pem"),
        (("webhooks", "--url", "https://h", "--ca-file", "README.md"), {}, "README.md"),
        (("webhooks", "--url", "http://h"), {}, "give https://host:port"),
        (("webhooks", "--url", "https://"), {}, "give https://host:port"),
        (("webhooks", "--service", "A_B/c"), {}, "'A_B/c' is not NAMESPACE/NAME"),
        (("webhooks", "--url", "https://h", "--name", "bad name"), {}, "'bad name' is not a name"),
    ],
)
def test_a_wrong_command_line_is_rejected_in_one_line(
    arguments: tuple[str, ...], environment: dict[str, str], message: str
) -> None:
    """The exit code is 2, and standard error has the reason, without a traceback and without a secret."""
    done = rollonce(*arguments, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "hush" not in done.stderr


def test_the_configurations_are_printed(tmp_path: Path) -> None:
    """`rollonce webhooks` prints two documents of valid YAML that name the Service and have the CA bundle."""
    names = ServingNames("svc", "ns")
    authority = new_authority(names, now=datetime.now(UTC), lifetime=timedelta(days=1))
    bundle = encode_certificates((authority.certificate,))
    (tmp_path / "ca.crt").write_bytes(bundle)
    done = rollonce("webhooks", "--service", "ns/svc", "--ca-file", str(tmp_path / "ca.crt"), "--name", "mine")
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(done.stdout))
    assert [document["kind"] for document in documents] == [
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ]
    for document in documents:
        assert document["metadata"]["name"] == "mine"
        for webhook in document["webhooks"]:
            client_config = webhook["clientConfig"]
            assert (client_config["service"]["namespace"], client_config["service"]["name"]) == ("ns", "svc")
            assert client_config["caBundle"] == base64.b64encode(bundle).decode()
            assert webhook["timeoutSeconds"] <= 5


def configurations(*arguments: str, **environment: str) -> list[dict[str, Any]]:
    """Return the documents that `rollonce webhooks` prints."""
    done = rollonce("webhooks", *arguments, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def test_the_stock_configurations_are_those_of_the_stock_settings(tmp_path: Path) -> None:
    """What the manifests register is what `rollonce webhooks` prints for their settings."""
    manifests = ROOT / "deploy" / "manifests"
    (tmp_path / "settings.yaml").write_text(
        yaml.safe_load((manifests / "settings.yaml").read_text())["data"]["settings.yaml"]
    )
    printed = configurations(f"--config={tmp_path / 'settings.yaml'}", "--namespace=rollonce")
    assert printed == list(yaml.safe_load_all((manifests / "webhooks.yaml").read_text()))


def test_the_configurations_follow_from_the_settings_file(tmp_path: Path) -> None:
    """Names, Service or URL, CA, the controller's account and the operator's list; flags take precedence."""
    authority = new_authority(ServingNames("s", "n"), now=datetime.now(UTC), lifetime=timedelta(days=1))
    (tmp_path / "ca.crt").write_bytes(encode_certificates((authority.certificate,)))
    (tmp_path / "settings.yaml").write_text(
        f"namespace: ops\nservice: hooks\nwebhooks: {{names: mine, caFile: {tmp_path / 'ca.crt'}}}\n"
        "controller: {serviceAccount: roller}\nrolloutChecksums: {enabled: true, namespaces: [shop, lab]}\n"
    )
    config = f"--config={tmp_path / 'settings.yaml'}"
    mutating, validating = configurations(config)
    assert mutating["metadata"]["name"] == validating["metadata"]["name"] == "mine"
    entries = {webhook["name"].partition(".")[0]: webhook for webhook in mutating["webhooks"]}
    assert entries["mutate-deployments"]["clientConfig"]["service"]["namespace"] == "ops"
    assert entries["mutate-deployments"]["clientConfig"]["service"]["name"] == "hooks"
    assert entries["mutate-deployments"]["clientConfig"]["caBundle"]
    listed = entries["mutate-listed-deployments"]
    assert listed["namespaceSelector"]["matchExpressions"][-1]["values"] == ["lab", "shop"]
    assert "'system:serviceaccount:ops:roller'" in listed["matchConditions"][-1]["expression"]
    mutating, _ = configurations(
        config,
        "--name=other",
        "--url=https://h:1",
        "--controller=else/where",
        "--operator-list=web",
        ROLLONCE_SERVICE="x",
    )
    assert mutating["metadata"]["name"] == "other"
    entries = {webhook["name"].partition(".")[0]: webhook for webhook in mutating["webhooks"]}
    listed = entries["mutate-listed-deployments"]
    assert listed["clientConfig"]["url"] == "https://h:1/mutate/deployments"
    assert listed["namespaceSelector"]["matchExpressions"][-1]["values"] == ["web"]
    assert "'system:serviceaccount:else:where'" in listed["matchConditions"][-1]["expression"]
    mutating, _ = configurations(config, "--service=a/b", "--controller=", ROLLONCE_WEBHOOKS_URL="https://h")
    assert mutating["webhooks"][0]["clientConfig"]["service"]["namespace"] == "a"
    assert len(mutating["webhooks"][0]["matchConditions"]) == 1


def test_a_list_that_is_not_enabled_registers_nothing(tmp_path: Path) -> None:
    """Only the webhooks for workloads that opt in by themselves are printed."""
    (tmp_path / "s.yaml").write_text("rolloutChecksums: {namespaces: [shop], secrets: [db]}\n")
    mutating, _ = configurations(f"--config={tmp_path / 's.yaml'}", "--namespace=ops")
    assert not [webhook for webhook in mutating["webhooks"] if "listed" in webhook["name"]]


def test_a_closed_pipe_causes_no_error_message() -> None:
    """`rollonce … | head -1` ends without an error message."""
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m webhook webhooks --service a/b | head -n 1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "---\n"
    assert done.stderr == ""
