"""The features of rollonce; their webhooks are registered and called in this order."""

from __future__ import annotations

from typing import Any, Final

from webhook.checksums.feature import CHECKSUMS
from webhook.dedupe.feature import DEDUPE
from webhook.feature import Feature
from webhook.tls.feature import TLS

FEATURES: Final[tuple[Feature[Any], ...]] = (CHECKSUMS, DEDUPE, TLS)
