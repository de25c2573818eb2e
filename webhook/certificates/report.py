"""What an operator wants to know of certificates, gathered from the API server and from the replicas themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

import msgspec
from cryptography import x509

from certs.authority import fingerprint
from certs.bundle import Bundle, bundle_of, check_leaf
from certs.errors import CertificateError
from certs.injector import PublishedConfiguration
from certs.state import CaState
from webhook.certificates.readiness import dial


class AuthorityReport(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A CA in the Secret.

    Attributes:
        place: `current` (signs), `next` (will sign) or `previous` (is still trusted).
        fingerprint: SHA-256 of the certificate, hex.
        expires: The end of its validity.
        trusted_until: When a previous one is dropped, if that is known yet.
        confirmed_at: When every webhook was seen to trust a next one.
    """

    place: str
    fingerprint: str
    expires: datetime
    trusted_until: datetime | None = None
    confirmed_at: datetime | None = None


class ReplicaReport(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a replica serves.

    Attributes:
        address: Its host and port.
        fingerprint: SHA-256 of the leaf, hex; empty where it could not be reached.
        expires: The end of the leaf's validity.
        issuer: Fingerprint of the CA that signed it, empty if that is none of those that are known.
        problem: Why it could not be reached, or why callers do not believe it.
    """

    address: str
    fingerprint: str = ""
    expires: datetime | None = None
    issuer: str = ""
    problem: str = ""


class WebhookReport(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What an API server trusts when it calls one of our webhooks.

    Attributes:
        configuration: Its kind and name, with a slash between.
        name: Of the webhook.
        trusts: Fingerprints of the CAs in its caBundle.
        problem: What is wrong with that.
    """

    configuration: str
    name: str
    trusts: tuple[str, ...]
    problem: str = ""


class Report(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Everything together.

    Attributes:
        secret: The CA Secret, with its namespace; empty where certificates are provided.
        problem: What is wrong with the Secret.
        authorities: The CAs in it.
        replicas: Those that were asked.
        webhooks: Ours, in all configurations.
    """

    secret: str
    problem: str
    authorities: tuple[AuthorityReport, ...]
    replicas: tuple[ReplicaReport, ...]
    webhooks: tuple[WebhookReport, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing of it is a problem."""
        problems = (self.problem, *(one.problem for one in self.replicas), *(one.problem for one in self.webhooks))
        return not any(problems)


def authorities_of(state: CaState) -> tuple[AuthorityReport, ...]:
    """Report the CAs of a state: current, next, previous."""
    found = []
    if state.current:
        found.append(_authority("current", state.current.certificate))
    if state.next:
        staged = state.next
        found.append(_authority("next", staged.authority.certificate, confirmed_at=staged.confirmed_at))
    found += [_authority("previous", r.certificate, trusted_until=r.drop_after) for r in state.previous]
    return tuple(found)


def webhooks_of(
    configurations: Sequence[PublishedConfiguration], wanted: Bundle | None, *, now: datetime
) -> tuple[WebhookReport, ...]:
    """Report what each webhook trusts.

    Args:
        configurations: As they stand.
        wanted: What each should trust; None where that is not ours to say.
        now: An aware time.
    """
    return tuple(
        WebhookReport(
            configuration=f"{configuration.kind}/{configuration.name}",
            name=webhook.name,
            trusts=tuple(fingerprint(certificate) for certificate in webhook.bundle.certificates),
            problem=_bundle_problem(webhook.bundle, wanted, now),
        )
        for configuration in configurations
        for webhook in configuration.webhooks
    )


async def replicas_of(
    addresses: Sequence[tuple[str, int]],
    configurations: Sequence[PublishedConfiguration],
    state: CaState | None,
    *,
    server_name: str,
    now: datetime,
) -> tuple[ReplicaReport, ...]:
    """Ask replicas for what they serve, all at once.

    Args:
        addresses: Host and port of each.
        configurations: What callers trust.
        state: Whose CAs may have signed.
        server_name: The name that callers verify.
        now: An aware time.
    """
    bundles = tuple(webhook.bundle for one in configurations for webhook in one.webhooks)
    known = bundle_of(c for bundle in (*bundles, state.bundle if state else Bundle()) for c in bundle.certificates)

    async def ask(host: str, port: int) -> ReplicaReport:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            leaf = x509.load_der_x509_certificate(await dial(host, port, server_name=server_name))
        except (CertificateError, ValueError) as error:
            return ReplicaReport(address, problem=f"cannot be asked from here: {error}")
        return ReplicaReport(
            address,
            fingerprint=fingerprint(leaf),
            expires=leaf.not_valid_after_utc,
            issuer=_issuer(leaf, known),
            problem=_disbelief(leaf, bundles, server_name, now),
        )

    return tuple(await asyncio.gather(*(ask(host, port) for host, port in addresses)))


def _authority(
    place: str,
    certificate: x509.Certificate,
    *,
    trusted_until: datetime | None = None,
    confirmed_at: datetime | None = None,
) -> AuthorityReport:
    return AuthorityReport(
        place, fingerprint(certificate), certificate.not_valid_after_utc, trusted_until, confirmed_at
    )


def _bundle_problem(bundle: Bundle, wanted: Bundle | None, now: datetime) -> str:
    if not bundle.certificates:
        return "its caBundle is empty, so each call fails"
    if not bundle.valid_at(now).certificates:
        return "everything in its caBundle has expired, so each call fails"
    return "its caBundle is not what the CA Secret says" if wanted is not None and bundle != wanted else ""


def _issuer(leaf: x509.Certificate, known: Bundle) -> str:
    # Each CA has a subject of its own.
    return next((fingerprint(ca) for ca in known.certificates if ca.subject == leaf.issuer), "")


def _disbelief(leaf: x509.Certificate, bundles: Sequence[Bundle], server_name: str, now: datetime) -> str:
    for bundle in bundles:
        try:
            check_leaf((leaf,), bundle, server_name=server_name, now=now)
        except CertificateError as error:
            return str(error)
    return ""
