"""What certificates tell of themselves: when they end, whether they are published, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from cryptography import x509
from prometheus_client import CollectorRegistry, Counter, Gauge


class ServingMetrics:
    """What a server tells of the certificate that it serves.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._remaining = _remaining(registry)
        self.renewals = Counter(
            "rollonce_certificate_renewals", "Serving certificates taken into service.", registry=registry
        )
        self.failures = _failures(registry)
        self.doubtful = Gauge(
            "rollonce_certificate_doubtful",
            "1 if the certificate being served is known not to be believed: it has expired, or its CA is another.",
            registry=registry,
        )

    def serve(self, leaf: x509.Certificate) -> None:
        """Note a certificate that is served from now on."""
        self.renewals.inc()
        self._remaining.labels("leaf").set_function(_until(leaf))


class RotationMetrics:
    """What the rotator tells.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._remaining = _remaining(registry)
        self.failures = _failures(registry)
        self.steps = Counter(
            "rollonce_certificate_rotation_steps", "Steps of rotations, by kind.", ["step"], registry=registry
        )
        self.published = Gauge(
            "rollonce_certificate_bundle_published",
            "1 if each of our webhooks was last seen to trust what the CA Secret says.",
            registry=registry,
        )

    def hold(self, authorities: dict[str, x509.Certificate]) -> None:
        """Note the CAs that there are, by their places: `ca`, `next`."""
        for place in ("ca", "next"):
            if certificate := authorities.get(place):
                self._remaining.labels(place).set_function(_until(certificate))
            else:
                self._remaining.remove(place)

    def forget(self) -> None:
        """Tell nothing any more: somebody else rotates now."""
        self.hold({})
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
        "Looks at certificates that failed, by reason; what is served stays.",
        ["reason"],
        registry=registry,
    )


def _until(certificate: x509.Certificate) -> Callable[[], float]:
    end = certificate.not_valid_after_utc

    def remaining() -> float:
        return (end - datetime.now(UTC)).total_seconds()

    return remaining
