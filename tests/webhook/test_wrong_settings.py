"""Wrong settings of the programs: each ends with exit code 2 and one line that names the setting and its source."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
import yaml

from certs.pem import encode_certificates
from tests.certs.samples import LOCAL, authority, pair
from tests.webhook.test_cli import rollonce
from webhook import cli
from webhook.app import Application
from webhook.features import FEATURES
from webhook.runtime.settings import Setting

APPLICATION: Final = Application(FEATURES)
PROGRAMS: Final = {"serve": APPLICATION.server_settings, "controller": APPLICATION.controller_settings}

#: Values that no setting of the kind can have, by the name of the setting. A setting that accepts every text has none:
#: it is wrong only together with others, or with what is found in the cluster.
WRONG: Final[Mapping[str, tuple[str, ...]]] = {
    "listen": ("8443", ":port", ":65536", ":-1", "here:8443", "1.2.3:80", "::1:80", "999.1.1.1:1", ":" + "9" * 5000),
    "health.listen": ("", "8080", ":0x1f", "host.example:8080", "[::g]:80"),
    "drain": ("", "15", "-1s", "soon", "601s", "1e3s", "1h1h1x"),
    "limits.inFlight": ("", "0", "-1", "1.5", "many", "100001", "9" * 30),
    "kubeconfig": ("a\0b",),
    "context": (),
    "namespace": ("Not_One", "a.b", "-a", "a" * 64),
    "service": ("", "a,b", "Svc", "a" * 64, "9" * 64),
    "clusterDomain": ("", "not a domain", "-", "a..b", "a" * 64 + ".local"),
    "webhooks.names": ("", ",", "Upper", "a b", "one,Two"),
    "webhooks.url": (
        "http://h",
        "https://",
        "https://h/path",
        "https://h?x",
        "https://u:p@h",
        "https://h:70000",
        "h:1",
    ),
    "webhooks.caFile": ("a\0b",),
    "log.level": ("", "loud", "INFO"),
    "log.format": ("", "xml"),
    "controller.serviceAccount": ("Not_One", "a/b"),
    "controller.lease": ("", "Lease", "a/b"),
    "rolloutChecksums.missing": ("", "maybe", "Warn"),
    "rolloutChecksums.maxConcurrent": ("", "-1", "all", "100001"),
    "rolloutChecksums.keyFile": ("a\0b", "/no/such/file", "/"),
    "rolloutChecksums.keySecret": ("name", "name/", "/key", "Name/key", "a/b/c"),
    "rolloutChecksums.progressDeadline": ("", "0s", "10", "25h"),
    "rolloutChecksums.access": ("", "some", "names"),
    "rolloutChecksums.watchNamespaces": ("Shop", "a b", "*"),
    "rolloutChecksums.watchSecrets": ("Db", "a b", "*"),
    "rolloutChecksums.watchConfigMaps": ("App", "a_b"),
    "rolloutChecksums.settle": ("", "-1s", "1", "2h", "1m"),
    "rolloutChecksums.settleCeiling": ("", "-1s", "2h", "1ms"),
    "rolloutChecksums.backoff": ("", "5", "2h", "10m"),
    "rolloutChecksums.backoffLimit": ("", "-1s", "25h", "1s"),
    "redis.url": ("", "http://x", "redis://", "redis://h:port", "redis://h/db", "redis://h?x=1", "unix://"),
    "dedupe.retentionDays": ("", "0", "-1", "nan", "inf", "366", "a week", "1e400"),
    "dedupe.onRedisDown": ("", "maybe"),
    "dedupe.onUnproved": ("", "generated", "Deny"),
    "dedupe.strict": ("", "yes", "1"),
    "dedupe.lease": ("", "0s", "90", "2h"),
    "dedupe.recordFormat": ("", "0", "3", "new"),
    "dedupe.state": ("", "State", "a/b"),
    "dedupe.namespaces": ("Shop", "a b"),
    "tls.mode": ("", "magic", "files"),
    "tls.certificate": ("a\0b", "/no/such/file"),
    "tls.key": ("a\0b", "/no/such/file"),
    "tls.secret": ("", "Secret", "a/b"),
    "tls.caSecret": ("", "Secret"),
    "tls.extraNames": ("under_score", "a b", "*.example", "1.2.3.4/8"),
    "tls.caLifetime": ("", "365d", "59s", "1h"),
    "tls.leafLifetime": ("", "0s", "1s", "8000h"),
    "tls.settle": ("", "-1s", "2h"),
    "tls.margin": ("", "-1s", "25h"),
    "tls.minimumVersion": ("", "1.1", "TLSv1.3"),
    "tls.clientCA": ("a\0b", "/no/such/file", "/"),
    "tls.clientNames": ("apiserver",),
}
#: Values that are wrong together with something else; the controller needs no certificate of its own.
_SERVER_ONLY: Final = {("tls.mode", "files"), ("tls.certificate", "/no/such/file"), ("tls.key", "/no/such/file")}
#: Settings that a program knows only because one file serves both.
_OTHERS_ONLY: Final = {
    "serve": {("rolloutChecksums.access", "names")}
    | {(f"rolloutChecksums.{name}", text) for name, text in (("settle", "1m"), ("settleCeiling", "1ms"))}
    | {(f"rolloutChecksums.{name}", text) for name, text in (("backoff", "10m"), ("backoffLimit", "1s"))},
    "controller": _SERVER_ONLY,
}


def declared(program: str) -> list[tuple[Setting[object], str]]:
    """Return each setting of a program with each of its wrong values."""
    return [
        (setting, text)
        for setting in PROGRAMS[program]
        for text in WRONG[setting.name]
        if (setting.name, text) not in _OTHERS_ONLY[program]
    ]


def require_refused(code: int, output: str, errors: str, *names: str) -> None:
    """Check that a program ended with one line that has the names."""
    assert (code, output) == (2, ""), errors
    assert errors.startswith("rollonce: error: "), errors
    assert errors.count("\n") == 1, errors
    assert "Traceback" not in errors
    for name in names:
        assert name in errors


def test_each_setting_has_wrong_values() -> None:
    """A new setting must be added above; one that accepts every text is so on purpose."""
    assert set(WRONG) == {setting.name for setting in APPLICATION.catalogue.settings}
    assert {name for name, texts in WRONG.items() if not texts} == {"context"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_wrong_value_ends_a_program(program: str, capsys: pytest.CaptureFixture[str], free_kubeconfig: Path) -> None:
    """Each wrong value of each setting, by flag: exit code 2, one line with the flag, before anything is started."""
    for setting, text in declared(program):
        given = [program, "--namespace=ops", f"--kubeconfig={free_kubeconfig}", f"{setting.flag}={text}"]
        code = cli.run(given)
        captured = capsys.readouterr()
        require_refused(code, captured.out, captured.err, f"flag {setting.flag}")


@pytest.fixture
def free_kubeconfig(tmp_path: Path) -> Path:
    """Write the kubeconfig of an API server that does not exist: it must not be called."""
    return kubeconfig(tmp_path, "https://127.0.0.1:1")


def kubeconfig(folder: Path, server: str, **more: str) -> Path:
    """Write a kubeconfig."""
    path = folder / f"kubeconfig-{len(list(folder.iterdir()))}"
    cluster = {"server": server, **more}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "clusters": [{"name": "one", "cluster": cluster}],
        "users": [{"name": "one", "user": {}}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def certificate(folder: Path) -> tuple[str, ...]:
    """Write a certificate and its key, and return the flags that name them."""
    made = pair(authority(names=LOCAL, now=datetime.now(UTC)), names=LOCAL, now=datetime.now(UTC))
    (folder / "tls.crt").write_bytes(made.chain_pem)
    (folder / "tls.key").write_bytes(made.key_pem)
    return f"--tls-certificate={folder / 'tls.crt'}", f"--tls-key={folder / 'tls.key'}"


def other_key(folder: Path) -> tuple[str, ...]:
    """Return the flags of a certificate and the key of another."""
    first, key = certificate(folder)
    made = pair(authority(names=LOCAL, now=datetime.now(UTC)), names=LOCAL, now=datetime.now(UTC))
    (folder / "tls.key").write_bytes(made.key_pem)
    return first, key


def expired_client_ca(folder: Path) -> tuple[str, ...]:
    """Return the flag of a CA whose validity is over."""
    old = authority(now=datetime(2020, 1, 1, tzinfo=UTC), lifetime=timedelta(days=1))
    (folder / "client.crt").write_bytes(encode_certificates((old.certificate,)))
    return (f"--tls-client-ca={folder / 'client.crt'}",)


def short_key(folder: Path) -> tuple[str, ...]:
    """Return the flag of a key with too few bytes."""
    (folder / "key").write_bytes(b"short")
    return (f"--rollout-checksums-key-file={folder / 'key'}",)


def two_keys(folder: Path) -> tuple[str, ...]:
    """Return the flags of two keys."""
    (folder / "key").write_bytes(b"k" * 32)
    return f"--rollout-checksums-key-file={folder / 'key'}", "--rollout-checksums-key-secret=a/b"


def file(text: str) -> Callable[[Path], tuple[str, ...]]:
    """Return a function that writes a settings file and returns its flag."""

    def write(folder: Path) -> tuple[str, ...]:
        (folder / "settings.yaml").write_text(text)
        return (f"--config={folder / 'settings.yaml'}",)

    return write


def config(server: str, **more: str) -> Callable[[Path], tuple[str, ...]]:
    """Return a function that writes a kubeconfig and returns its flag."""
    return lambda folder: (f"--kubeconfig={kubeconfig(folder, server, **more)}",)


def raw_kubeconfig(text: str) -> Callable[[Path], tuple[str, ...]]:
    """Return a function that writes anything as a kubeconfig and returns its flag."""

    def write(folder: Path) -> tuple[str, ...]:
        (folder / "raw").write_text(text)
        return (f"--kubeconfig={folder / 'raw'}",)

    return write


BOTH: Final = ("serve", "controller")
#: Contradictions, and what can only be seen by looking: the programs, the settings, and words of the message.
CASES: Final[Mapping[str, tuple[tuple[str, ...], Callable[[Path], tuple[str, ...]], tuple[str, ...]]]] = {
    "two keys": (BOTH, two_keys, ("flag --rollout-checksums-key-file, flag --rollout-checksums-key-secret",)),
    "a short key": (BOTH, short_key, ("flag --rollout-checksums-key-file", "16 bytes")),
    "namespaces of all": (
        ("controller",),
        lambda _: ("--rollout-checksums-access=cluster", "--rollout-checksums-watch-namespaces=a"),
        ("flag --rollout-checksums-watch-namespaces",),
    ),
    "files in another mode": (
        ("serve",),
        lambda folder: ("--tls-mode=self-managed", *certificate(folder)),
        ("flag --tls-mode, flag --tls-certificate, flag --tls-key",),
    ),
    "another key": (("serve",), other_key, ("flag --tls-certificate, flag --tls-key", "key")),
    "an expired client CA": (("serve",), expired_client_ca, ("flag --tls-client-ca", "no CA")),
    "no namespace": (BOTH, lambda _: ("--namespace=",), ("Give it by --namespace",)),
    "no namespace, with files": (
        ("serve",),
        lambda folder: ("--namespace=", *certificate(folder)),
        ("Give it by --namespace",),
    ),
    "a port that is taken twice": (
        ("serve",),
        lambda _: ("--listen=127.0.0.1:48443", "--health-listen=127.0.0.1:48443"),
        ("flag --listen: cannot listen on 127.0.0.1:48443: Address already in use",),
    ),
    "an address of another machine": (
        BOTH,
        lambda _: ("--health-listen=192.0.2.1:8080",),
        ("flag --health-listen: cannot listen on 192.0.2.1:8080",),
    ),
    "a list that is none": (BOTH, file("rolloutChecksums: {secrets: db}"), ("rolloutChecksums.secrets has to be",)),
    "a list that is enabled by a word": (BOTH, file("rolloutChecksums: {enabled: sure}"), ("true or false",)),
    "an unknown key of the file": (BOTH, file("drian: 1s"), ("there is no setting drian", "Did you mean drain?")),
    "a file with a date that is none": (BOTH, file("drain: 2020-13-45"), ("settings.yaml is not YAML",)),
    "a file that contains itself": (BOTH, file("a: &a {b: *a}"), ("levels",)),
    "no settings file": (BOTH, lambda folder: (f"--config={folder / 'none'}",), ("Cannot read the settings file",)),
    "no kubeconfig": (BOTH, lambda _: ("--kubeconfig=/no/such/file",), ("/no/such/file", "--kubeconfig")),
    "a kubeconfig that is a folder": (BOTH, lambda folder: (f"--kubeconfig={folder}",), ("--kubeconfig",)),
    "a kubeconfig that is no YAML": (BOTH, raw_kubeconfig("a: ["), ("raw", "--kubeconfig")),
    "a kubeconfig that is a list": (BOTH, raw_kubeconfig("- a"), ("raw", "--kubeconfig")),
    "a kubeconfig that is a word": (BOTH, raw_kubeconfig("word"), ("raw", "--kubeconfig")),
    "a kubeconfig of other things": (BOTH, raw_kubeconfig("clusters: [1]\nusers: {}\n"), ("raw", "--kubeconfig")),
    "an unknown context": (BOTH, lambda _: ("--context=other",), ("other", "--context")),
    "a server that is no URL": (BOTH, config("nowhere"), ("nowhere", "--kubeconfig")),
    "a CA that is none": (BOTH, config("https://h", **{"certificate-authority-data": "eA=="}), ("--kubeconfig",)),
    "a CA that is not base64": (BOTH, config("https://h", **{"certificate-authority-data": "?"}), ("--kubeconfig",)),
    "a CA file that does not exist": (BOTH, config("https://h", **{"certificate-authority": "/none"}), ("/none",)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_settings_that_cannot_work_end_a_program(case: str, tmp_path: Path, free_kubeconfig: Path) -> None:
    """Contradictions, files, ports and kubeconfigs: exit code 2 and one line, from real processes."""
    programs, make, words = CASES[case]
    given = (f"--kubeconfig={free_kubeconfig}", "--namespace=ops", *make(tmp_path))

    def start(program: str) -> subprocess.CompletedProcess[str]:
        health = () if any("health" in flag for flag in given) else ("--health-listen=127.0.0.1:0",)
        listen = ("--listen=127.0.0.1:0",) if program == "serve" and "--listen" not in str(given) else ()
        return rollonce(program, *health, *listen, *given)

    with ThreadPoolExecutor() as pool:
        for done in pool.map(start, programs):
            require_refused(done.returncode, done.stdout, done.stderr, *words)


def test_a_port_of_another_process_ends_a_program(free_kubeconfig: Path) -> None:
    """The message names the setting, the address and its source."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = rollonce(
            "controller",
            "--namespace=ops",
            f"--kubeconfig={free_kubeconfig}",
            ROLLONCE_HEALTH_LISTEN=f"127.0.0.1:{port}",
        )
    require_refused(done.returncode, done.stdout, done.stderr, "environment variable ROLLONCE_HEALTH_LISTEN")
