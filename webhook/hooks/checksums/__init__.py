"""Checksums of Secrets and ConfigMaps in pod templates. What is promised is in `docs/checksums.md`."""

from webhook.hooks.checksums.hooks import RESOURCES, hooks
from webhook.hooks.checksums.metrics import ChecksumMetrics
from webhook.hooks.checksums.settings import ChecksumSettings

__all__ = ["RESOURCES", "ChecksumMetrics", "ChecksumSettings", "hooks"]
