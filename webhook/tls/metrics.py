"""Metrics of certificates: when they end, whether they are published and trusted, and what failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cryptography import x509
from prometheus_client import CollectorRegistry, Counter, Gauge

from webhook.runtime.clock import Clock


class ServingMetrics:
    """Metrics of the certificate that a server serves.

    Args:
        registry: Where the metrics are registered.
        clock: Time of day.
    """

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self._remaining = _remaining(registry)
        self.renewals = Counter(
            "rollonce_certificate_renewals", "Serving certificates that were loaded.", registry=registry
        )
        self.failures = _failures(registry)
        self.untrusted = Gauge(
            "rollonce_certificate_untrusted",
            "1 if clients do not accept the certificate that is served: it has expired, or it does not chain to the "
            "provided CA.",
            registry=registry,
        )

    def loaded(self, leaf: x509.Certificate) -> None:
        """Count a certificate that is served from now on, and show how long it is valid."""
        self.renewals.inc()
        self._remaining.labels("leaf").set_function(_seconds_left(leaf, self._clock))


class RotationMetrics:
    """Metrics of the rotation.

    Args:
        registry: Where the metrics are registered.
        clock: Time of day.
    """

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self._remaining = _remaining(registry)
        self.failures = _failures(registry)
        self.steps = Counter(
            "rollonce_certificate_rotation_steps", "Steps of rotations, by type.", ["step"], registry=registry
        )
        self.published = Gauge(
            "rollonce_certificate_bundle_published",
            "1 if each webhook of this installation was last seen to trust the CAs in the CA Secret.",
            registry=registry,
        )

    def set_authorities(self, authorities: Mapping[str, x509.Certificate]) -> None:
        """Show how long CAs are valid.

        Args:
            authorities: The current CA as `ca` and the next one as `next`, as far as they exist.
        """
        for place in ("ca", "next"):
            if certificate := authorities.get(place):
                self._remaining.labels(place).set_function(_seconds_left(certificate, self._clock))
            else:
                self._remaining.remove(place)

    def reset(self) -> None:
        """Show nothing: another replica rotates from now on."""
        self.set_authorities({})
        self.published.set(0)


def _remaining(registry: CollectorRegistry) -> Gauge:
    return Gauge(
        "rollonce_certificate_remaining_seconds",
        "Seconds until a certificate ends, below 0 after that, by certificate: leaf, ca, next.",
        ["certificate"],
        registry=registry,
    )


def _failures(registry: CollectorRegistry) -> Counter:
    return Counter(
        "rollonce_certificate_failures",
        "Failed attempts to renew, load or rotate certificates, by reason; the served certificate stays.",
        ["reason"],
        registry=registry,
    )


def _seconds_left(certificate: x509.Certificate, clock: Clock) -> Callable[[], float]:
    end = certificate.not_valid_after_utc

    def seconds_left() -> float:
        return (end - clock.now()).total_seconds()

    return seconds_left
