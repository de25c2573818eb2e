"""The look at a store before it is trusted: what is unsafe is said plainly, or refused under `strict`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from structlog.typing import FilteringBoundLogger

from webhook.admission.deadline import Deadline
from webhook.errors import ConfigurationError
from webhook.hooks.dedupe.core.inspection import findings
from webhook.hooks.dedupe.store import ScriptRunner


async def inspect(
    client: ScriptRunner, deadline: Deadline, *, strict: bool, log: FilteringBoundLogger
) -> tuple[str, ...]:
    """Look at the server behind a connection; of a Cluster, at one of them.

    Args:
        client: The connection.
        deadline: For the answer.
        strict: Whether an unsafe store is refused.
        log: Told of each finding.

    Returns:
        The findings.

    Raises:
        ConfigurationError: There are findings, and `strict` is set.
        StoreError: The store did not answer.
    """
    info = cast("Mapping[str, object]", await client.command("INFO", b"everything", deadline=deadline))
    found = findings({name: str(value) for name, value in info.items()})
    for finding in found:
        log.warning("The deduplication store is not safe.", finding=finding)
    if found and strict:
        raise ConfigurationError("The deduplication store is not safe, and strict is set: " + " ".join(found))
    return found
