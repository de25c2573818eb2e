"""What `rollonce certs` shows and how it refuses, without a cluster."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from certs.bundle import Bundle, bundle_of
from certs.injector import Kind, PublishedConfiguration, PublishedWebhook
from certs.state import CaState, Retired, Staged
from tests.certs.samples import NOW, authority
from tests.webhook.test_cli import rollonce
from webhook.certificates.report import (
    AuthorityReport,
    ReplicaReport,
    Report,
    WebhookReport,
    authorities_of,
    webhooks_of,
)
from webhook.commands.certs import tree


def drawn(report: Report, *, now: datetime = NOW) -> str:
    """The tree as plain text."""
    output = io.StringIO()
    Console(file=output, width=300).print(tree(report, now=now))
    return output.getvalue()


def test_the_cas_are_told_by_their_places() -> None:
    """Current, next and previous, with what is known of when they come and go."""
    current, following, previous = authority(), authority(), authority()
    state = CaState(current, Staged(following, NOW), (Retired(previous.certificate, NOW + timedelta(hours=1)),))
    told = authorities_of(state)
    assert [one.place for one in told] == ["current", "next", "previous"]
    assert [one.fingerprint for one in told] == [current.identity, following.identity, previous.identity]
    text = drawn(Report("ops/rollonce-ca", "", told, (), ()))
    assert "current CA" in text
    assert "trusted by all webhooks" in text
    assert "trusted until 2026-03-01T13:00:00+00:00 (in 60 minutes)" in text


@pytest.mark.parametrize(
    ("shown", "problem"),
    [
        ("ours", ""),
        ("nothing", "its caBundle is empty, so each call fails"),
        ("another", "its caBundle is not what the CA Secret says"),
        ("expired", "everything in its caBundle has expired, so each call fails"),
    ],
)
def test_what_a_webhook_trusts_is_compared(shown: str, problem: str) -> None:
    """With what the Secret says, and with the clock."""
    ours = bundle_of([authority().certificate])
    old = bundle_of([authority(now=NOW - timedelta(days=9), lifetime=timedelta(days=1)).certificate])
    bundle = {"ours": ours, "nothing": Bundle(), "another": bundle_of([authority().certificate]), "expired": old}[shown]
    configuration = PublishedConfiguration(Kind.MUTATING, "ours", "1", (PublishedWebhook(0, "a.b.c", bundle),))
    (told,) = webhooks_of([configuration], ours, now=NOW)
    assert told.problem == problem
    assert (told.configuration, told.name) == ("mutatingwebhookconfigurations/ours", "a.b.c")


def test_a_report_is_healthy_when_nothing_is_wrong() -> None:
    """One problem anywhere is one too many, and the tree shows it."""
    fine = ReplicaReport("10.0.0.1:8443", "ab" * 32, NOW + timedelta(hours=20), "cd" * 32)
    bad = ReplicaReport("10.0.0.2:8443", problem="cannot be asked [from here]")
    ca = AuthorityReport("current", "cd" * 32, NOW + timedelta(days=300))
    hook = WebhookReport("x/y", "a.b.c", ("cd" * 32,))
    good = Report("ops/rollonce-ca", "", (ca,), (fine,), (hook,))
    assert good.healthy
    text = drawn(good)
    assert "10.0.0.1:8443 abababababab of current CA cdcdcdcdcdcd, ends" in text
    assert "(in 20 hours)" in text
    assert "(in 300 days)" in text
    for wrong in (
        Report("ops/rollonce-ca", "there is no CA", (), (), ()),
        Report("ops/rollonce-ca", "", (ca,), (fine, bad), (hook,)),
    ):
        assert not wrong.healthy
        assert (wrong.problem or "cannot be asked [from here]") in drawn(wrong)


def test_nothing_at_all_is_said_too() -> None:
    """No CA of ours, no replica, no webhook, and what has ended."""
    text = drawn(Report("", "", (), (), ()))
    for words in ("Certificates are provided", "no replica is known", "no webhook of ours is registered"):
        assert words in text
    ended = AuthorityReport("current", "cd" * 32, NOW)
    assert "which is over" in drawn(Report("a/b", "", (ended,), (), ()), now=datetime.now(UTC))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("status", "--replica", "here"), "--replica: give host:port"),
        (("rotate", "--timeout", "soon"), "--timeout: give a duration"),
        (("rotate", "--tls-certificate=a", "--tls-key=b"), "rotated by whoever provides them"),
        (("status", "--kubeconfig=/none"), "/none"),
    ],
)
def test_a_wrong_command_line_is_told_in_a_line(arguments: tuple[str, ...], said: str) -> None:
    """Exit code 2, and no traceback."""
    done = rollonce("certs", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
