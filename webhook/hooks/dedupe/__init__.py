"""Deduplication: one OrchestrationRun for each delivery. What is promised is in `docs/deduplication.md`."""

from webhook.hooks.dedupe.hooks import Deduplication, assemble, hooks
from webhook.hooks.dedupe.metrics import DedupeMetrics
from webhook.hooks.dedupe.settings import DedupeSettings, OnRedisDown
from webhook.hooks.dedupe.store import Store

__all__ = ["DedupeMetrics", "DedupeSettings", "Deduplication", "OnRedisDown", "Store", "assemble", "hooks"]
