"""Every metric follows the naming rules of Prometheus.

The rules are those of `promtool check metrics`. Source: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

import webhook.checksums.metrics
import webhook.dedupe.metrics
import webhook.kube.metrics
import webhook.runtime.metrics
import webhook.tls.metrics
from webhook.runtime.clock import Clock

MODULES = (
    webhook.checksums.metrics,
    webhook.dedupe.metrics,
    webhook.kube.metrics,
    webhook.runtime.metrics,
    webhook.tls.metrics,
)
NAME = re.compile(r"rollonce_[a-z]+(_[a-z]+)*")
#: A unit other than a base unit, or an abbreviation of one, must not be part of a name.
NOT_BASE_UNITS = {"ms", "milliseconds", "microseconds", "minutes", "hours", "days", "kilobytes", "megabytes", "percent"}
#: Words that belong to the suffixes of other types.
RESERVED_ENDS = ("_count", "_sum", "_bucket")


def metrics() -> Iterator[Metric]:
    """Create each class of metrics once, on a new registry, and yield its metrics."""
    for module in MODULES:
        for name, made in inspect.getmembers(module, inspect.isclass):
            if name.endswith("Metrics") and made.__module__ == module.__name__:
                registry = CollectorRegistry()
                arguments = {"registry": registry, "clock": Clock()}
                made(**{key: arguments[key] for key in inspect.signature(made).parameters})
                yield from registry.collect()


ALL = list(metrics())


def test_there_are_metrics_of_every_module() -> None:
    """Metrics are found, so that the rules below are checked on something."""
    assert len(ALL) > 40


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: str(metric.name))
def test_a_metric_follows_the_naming_rules(metric: Metric) -> None:
    """A name has lower case, underscores, base units and no type; its help is a sentence."""
    assert NAME.fullmatch(metric.name), metric.name
    words = set(metric.name.split("_"))
    assert not words & NOT_BASE_UNITS
    # A counter's exposed name ends in _total, which the library adds; other types must not have it.
    assert not metric.name.endswith("_total")
    assert not metric.name.endswith(RESERVED_ENDS)
    assert metric.type not in words
    assert metric.documentation[0].isupper() or metric.documentation[0].isdigit()
    assert metric.documentation.endswith(".")


def test_names_are_used_once() -> None:
    """No two metrics have the same name, except the certificate metrics of the two programs."""
    shared = {"rollonce_certificate_remaining_seconds", "rollonce_certificate_failures"}
    names = [metric.name for metric in ALL if metric.name not in shared]
    assert len(names) == len(set(names))
