"""The output and the errors of `rollonce certs`, without a cluster."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from certs.bundle import Bundle, bundle_of
from certs.ca_state import CaState, Retired, Staged
from certs.injector import Kind, PublishedConfiguration, PublishedWebhook
from tests.certs.samples import DAY, NOW, authority
from tests.webhook.test_cli import rollonce
from webhook.tls.certs_report import (
    AuthorityReport,
    ReplicaReport,
    Report,
    WebhookReport,
    authorities_of,
    webhooks_of,
)
from webhook.tls.commands import tree


def drawn(report: Report, *, now: datetime = NOW) -> str:
    """Return the tree as plain text."""
    output = io.StringIO()
    Console(file=output, width=300).print(tree(report, now=now))
    return output.getvalue()


def test_each_ca_is_shown_with_its_place() -> None:
    """Current, next and previous, with the times that are known."""
    current, following, previous = authority(), authority(), authority()
    state = CaState(current, Staged(following, NOW), (Retired(previous.certificate, NOW + timedelta(hours=1)),))
    shown = authorities_of(state, now=NOW)
    assert [ca.place for ca in shown] == ["current", "next", "previous"]
    assert [ca.fingerprint for ca in shown] == [current.identity, following.identity, previous.identity]
    text = drawn(Report("ops/rollonce-ca", "", shown, (), ()))
    assert "current CA" in text
    assert "trusted by all webhooks" in text
    assert "trusted until 2026-03-01T13:00:00+00:00 (in 60 minutes)" in text


@pytest.mark.parametrize(
    ("published", "problem"),
    [
        ("expected", ""),
        ("nothing", "its caBundle is empty, so each call fails"),
        ("another", "its caBundle is not what the CA Secret says"),
        ("expired", "everything in its caBundle has expired, so each call fails"),
    ],
)
def test_the_bundle_of_a_webhook_is_checked(published: str, problem: str) -> None:
    """It is compared with the Secret and with the clock."""
    expected = bundle_of([authority().certificate])
    old = bundle_of([authority(now=NOW - timedelta(days=9), lifetime=timedelta(days=1)).certificate])
    bundles = {
        "expected": expected,
        "nothing": Bundle(),
        "another": bundle_of([authority().certificate]),
        "expired": old,
    }
    webhook = PublishedWebhook(0, "a.b.c", bundles[published])
    configuration = PublishedConfiguration(Kind.MUTATING, "rollonce", "1", (webhook,))
    (report,) = webhooks_of([configuration], expected, now=NOW)
    assert report.problem == problem
    assert (report.configuration, report.name) == ("mutatingwebhookconfigurations/rollonce", "a.b.c")


def test_a_report_is_healthy_if_there_is_no_problem() -> None:
    """The tree shows each problem."""
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
    ended = AuthorityReport("current", "cd" * 32, NOW, problem="it has expired")
    for wrong, shown in (
        (Report("ops/rollonce-ca", "there is no CA", (), (), ()), "there is no CA"),
        (Report("ops/rollonce-ca", "", (ca,), (fine, bad), (hook,)), "cannot be asked [from here]"),
        (Report("ops/rollonce-ca", "", (ended,), (fine,), (hook,)), "it has expired"),
        (Report("", "", (), (), (), ("a.b.c: is missing",), "mend it"), "a.b.c: is missing"),
    ):
        assert not wrong.healthy
        assert shown in drawn(wrong)


def test_a_ca_that_has_expired_is_a_problem_if_it_signs() -> None:
    """A previous one only has to be trusted for as long as its leaves are valid."""
    old, current = authority(now=NOW - 9 * DAY, lifetime=DAY), authority()
    state = CaState(current, None, (Retired(old.certificate, NOW + timedelta(hours=1)),))
    assert [ca.problem for ca in authorities_of(state, now=NOW)] == ["", ""]
    ended = CaState(old, None, ())
    assert authorities_of(ended, now=NOW)[0].problem.startswith("it has expired")


def test_an_empty_report_says_what_is_missing() -> None:
    """No CA, no replica, no webhook; and a CA that has expired."""
    text = drawn(Report("", "", (), (), ()))
    for words in ("Certificates are provided", "no replica is known", "no webhook of rollonce is registered"):
        assert words in text
    ended = AuthorityReport("current", "cd" * 32, NOW)
    assert "which is over" in drawn(Report("a/b", "", (ended,), (), ()), now=datetime.now(UTC))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("status", "--replica", "here"), "--replica: give host:port"),
        (("rotate", "--timeout", "soon"), "--timeout: give a duration"),
        (("rotate", "--tls-certificate=a", "--tls-key=b"), "rollonce does not rotate them"),
        (("status", "--kubeconfig=/none"), "/none"),
    ],
)
def test_a_wrong_command_line_is_one_line_of_error(arguments: tuple[str, ...], message: str) -> None:
    """The exit code is 2, and there is no traceback."""
    done = rollonce("certs", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
