"""A report on certificates: the CAs, what each replica serves, and what each webhook trusts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

import msgspec
from cryptography import x509

from certs.authority import fingerprint
from certs.bundle import Bundle, bundle_of, check_leaf
from certs.ca_state import CaState
from certs.errors import CertificateError
from certs.injector import PublishedConfiguration
from webhook.tls.readiness import dial


class AuthorityReport(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A CA in the Secret.

    Attributes:
        place: `current` (signs), `next` (will sign) or `previous` (is still trusted).
        fingerprint: SHA-256 of the certificate, hex.
        expires: The end of its validity.
        trusted_until: When a previous CA is dropped, if that is known already.
        confirmed_at: When every webhook was seen to trust a next CA.
        problem: Why a CA that signs or will sign is of no use.
    """

    place: str
    fingerprint: str
    expires: datetime
    trusted_until: datetime | None = None
    confirmed_at: datetime | None = None
    problem: str = ""


class ReplicaReport(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The certificate that a replica serves.

    Attributes:
        address: Host and port of the replica.
        fingerprint: SHA-256 of the leaf, hex; empty if the replica could not be reached.
        expires: The end of the leaf's validity.
        issuer: Fingerprint of the CA that signed it; empty if that is not a known CA.
        problem: Why the replica could not be reached, or why clients do not accept its certificate.
    """

    address: str
    fingerprint: str = ""
    expires: datetime | None = None
    issuer: str = ""
    problem: str = ""


class WebhookReport(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The CAs that an API server trusts when it calls a webhook of this installation.

    Attributes:
        configuration: Kind and name of the configuration, with a slash between.
        name: Name of the webhook.
        trusts: Fingerprints of the CAs in its caBundle.
        problem: What is wrong with them.
    """

    configuration: str
    name: str
    trusts: tuple[str, ...]
    problem: str = ""


class Report(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The whole report.

    Attributes:
        secret: Namespace and name of the CA Secret; empty if certificates are provided.
        problem: What is wrong with the Secret.
        authorities: The CAs in it.
        replicas: The replicas that were called.
        webhooks: The webhooks of this installation, in all configurations.
        differences: How the webhook configurations differ from those of the settings.
        repair: The command that applies those of the settings, if there are differences.
    """

    secret: str
    problem: str
    authorities: tuple[AuthorityReport, ...]
    replicas: tuple[ReplicaReport, ...]
    webhooks: tuple[WebhookReport, ...]
    differences: tuple[str, ...] = ()
    repair: str = ""

    @property
    def healthy(self) -> bool:
        """Whether there is no problem."""
        parts: tuple[AuthorityReport | ReplicaReport | WebhookReport, ...] = (
            *self.authorities,
            *self.replicas,
            *self.webhooks,
        )
        return not self.problem and not self.differences and not any(part.problem for part in parts)


def authorities_of(state: CaState, *, now: datetime) -> tuple[AuthorityReport, ...]:
    """Return the CAs of a state: current, next, previous.

    Args:
        state: The content of the CA Secret.
        now: The time, with a time zone.
    """
    found = []
    if state.current:
        found.append(_authority("current", state.current.certificate, now))
    if state.next:
        staged = state.next
        found.append(_authority("next", staged.authority.certificate, now, confirmed_at=staged.confirmed_at))
    # A previous CA may have expired: it only has to be trusted as long as its leaves are valid.
    found += [_authority("previous", r.certificate, None, trusted_until=r.drop_after) for r in state.previous]
    return tuple(found)


def webhooks_of(
    configurations: Sequence[PublishedConfiguration], expected: Bundle | None, *, now: datetime
) -> tuple[WebhookReport, ...]:
    """Return what each webhook trusts.

    Args:
        configurations: The webhook configurations on the API server.
        expected: What each webhook should trust; None if others publish the CA.
        now: The time, with a time zone.
    """
    return tuple(
        WebhookReport(
            configuration=f"{configuration.kind}/{configuration.name}",
            name=webhook.name,
            trusts=tuple(fingerprint(certificate) for certificate in webhook.bundle.certificates),
            problem=_bundle_problem(webhook.bundle, expected, now),
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
    """Call replicas, all at the same time, and return what they serve.

    Args:
        addresses: Host and port of each.
        configurations: The webhook configurations, with what API servers trust.
        state: The content of the CA Secret, with CAs that may have signed.
        server_name: The name that API servers verify.
        now: The time, with a time zone.
    """
    bundles = tuple(webhook.bundle for configuration in configurations for webhook in configuration.webhooks)
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
            problem=_leaf_problem(leaf, bundles, server_name, now),
        )

    return tuple(await asyncio.gather(*(ask(host, port) for host, port in addresses)))


def _authority(
    place: str,
    certificate: x509.Certificate,
    now: datetime | None,
    *,
    trusted_until: datetime | None = None,
    confirmed_at: datetime | None = None,
) -> AuthorityReport:
    ended = now is not None and certificate.not_valid_after_utc <= now
    return AuthorityReport(
        place,
        fingerprint(certificate),
        certificate.not_valid_after_utc,
        trusted_until,
        confirmed_at,
        problem="it has expired; is a controller running?" if ended else "",
    )


def _bundle_problem(bundle: Bundle, expected: Bundle | None, now: datetime) -> str:
    if not bundle.certificates:
        return "its caBundle is empty, so each call fails"
    if not bundle.valid_at(now).certificates:
        return "everything in its caBundle has expired, so each call fails"
    return "its caBundle is not what the CA Secret says" if expected is not None and bundle != expected else ""


def _issuer(leaf: x509.Certificate, known: Bundle) -> str:
    # Each CA has its own subject.
    return next((fingerprint(ca) for ca in known.certificates if ca.subject == leaf.issuer), "")


def _leaf_problem(leaf: x509.Certificate, bundles: Sequence[Bundle], server_name: str, now: datetime) -> str:
    for bundle in bundles:
        try:
            check_leaf((leaf,), bundle, server_name=server_name, now=now)
        except CertificateError as error:
            return str(error)
    return ""
