"""Compare the webhook configurations on the API server with those that the settings lead to.

They are only compared, never written: the operator applies them. But a replica whose webhooks are not those that its
settings need is not ready: with the operator's list enabled and the webhooks of another list, for example, each new
Deployment would roll twice, and nothing would show why.

A replica that was ready once stays ready, since the others would become unready at the same moment; it logs the
difference, and a metric shows it. If nothing is registered yet, a replica becomes ready: servers have to run before
requests are sent to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from webhook.admission.registered import Difference, differences
from webhook.errors import ConfigurationError, KubernetesError
from webhook.feature import Process
from webhook.kube.api import KubernetesApi
from webhook.kube.registrations import ForbiddenError, may_read, read_configurations
from webhook.runtime import options
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock, Retry
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import ChangeLogger, Logger
from webhook.runtime.metrics import RegistrationMetrics
from webhook.runtime.readiness import ReadinessHandle

#: Returns the webhook configurations as they should be now: the operator's list can change without a restart.
#: Raises `ConfigurationError` if they cannot be known.
Render: TypeAlias = Callable[[], Sequence[dict[str, Any]]]

CONDITION: Final = "the webhook configurations"
#: How often the configurations are compared once they were as they should be.
CHECK_SECONDS: Final = 15.0
#: How often the right to read them is looked for if there is none.
RIGHTS_SECONDS: Final = 600.0
_WAITING_BACKOFF: Final = Backoff(first=0.5, limit=5.0)
_CALL_SECONDS: Final = 10.0
_SHOWN: Final = 3


def start_comparing(process: Process, render: Render) -> None:
    """Compare in the background; be unready until the configurations are as they should be."""
    names = process.settings[options.CONFIGURATIONS]
    comparer = RegistrationComparer(
        process.api,
        render,
        names=names,
        repair=options.repair_command(process.settings),
        handle=process.readiness.wait_for(CONDITION),
        metrics=RegistrationMetrics(process.registry),
        clock=process.clock,
        log=process.log,
    )
    process.background.start("registration", comparer.run)


class RegistrationComparer:
    """Compare again and again.

    Args:
        api: The API server; may have the right `get` on the named configurations.
        render: Returns the configurations as they should be.
        names: The names under which configurations are read.
        repair: The command that applies them.
        handle: The condition of readiness.
        metrics: Shows the differences.
        clock: Sleep and jitter.
        log: Receives each change.
    """

    def __init__(
        self,
        api: KubernetesApi,
        render: Render,
        *,
        names: Sequence[str],
        repair: str,
        handle: ReadinessHandle,
        metrics: RegistrationMetrics,
        clock: Clock,
        log: Logger,
    ) -> None:
        self._api = api
        self._render = render
        self._names = names
        self._repair = repair
        self._handle = handle
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._differences, self._failures, self._rights = (ChangeLogger(log) for _ in range(3))
        self._permitted = False

    async def run(self) -> None:
        """Compare until cancelled; returns if this installation cannot be known."""
        try:
            self._render()
        except ConfigurationError as error:
            self._log.info("webhook configurations are not compared with the settings", problem=str(error))
            self._handle.release()
            return
        retry = Retry(self._clock, _WAITING_BACKOFF)
        while True:
            wait = await self._try()
            if wait is None:
                await retry.wait()
            else:
                retry.succeeded()
                await self._clock.sleep(wait)

    async def _try(self) -> float | None:
        """Compare once; returns the seconds until the next time, None if it should be soon."""
        try:
            if not self._permitted and not await may_read(self._api, self._names, self._deadline()):
                return self._without_rights()
            self._permitted = True
            live = await read_configurations(self._api, self._names, self._deadline())
            found = differences(self._render(), live)
        except ForbiddenError:
            self._permitted = False
            return self._without_rights()
        except (KubernetesError, ConfigurationError) as error:
            self._failures.failed("webhook configurations cannot be compared, retrying", str(error))
            self._handle.note(str(error))
            return None
        self._failures.recovered("webhook configurations can be compared again")
        return self._compared(found, registered=bool(live))

    def _without_rights(self) -> float:
        self._rights.changed("webhook configurations are not compared, there is no right to get them")
        self._handle.release()
        return RIGHTS_SECONDS

    def _compared(self, found: Sequence[Difference], *, registered: bool) -> float | None:
        self._metrics.differences.set(len(found))
        if not found:
            self._differences.recovered("webhook configurations are as the settings say")
            self._handle.release()
            return CHECK_SECONDS
        if not registered:
            self._differences.failed("webhooks are not registered", f"Apply them by: {self._repair}")
            self._handle.release()
            return CHECK_SECONDS
        problem = f"{describe(found)}. Apply what the settings say by: {self._repair}"
        self._differences.failed("webhook configurations differ from the settings", problem)
        self._handle.note(problem)
        return CHECK_SECONDS if self._handle.released else None

    def _deadline(self) -> Deadline:
        return self._clock.deadline(_CALL_SECONDS)


def describe(found: Sequence[Difference]) -> str:
    """Return the first differences as text."""
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(map(str, found[:_SHOWN])) + more
