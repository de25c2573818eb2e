"""The controller's part: every run that is seen stored confirms its delivery's reservation.

What the list shows is confirmed first, then what the watch tells from there on. Nothing is kept: a run is forgotten as
soon as it is confirmed, and the next one is read only then, so that memory does not grow with the number of runs. When
the store fails, the place in the watch is kept and gone on from. Any number of replicas may do this at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from structlog.typing import FilteringBoundLogger

from webhook.admission.deadline import Deadline
from webhook.clients.kubernetes import KubernetesClient
from webhook.controller.core.lines import LineSplitter, LineTooLongError
from webhook.controller.core.pacing import Backoff
from webhook.controller.listing import GoneError, RefusedError, Selection, refusal
from webhook.controller.objects import DecodeError, Event, bookmark_version, event_decoder, partial_decoder, read_status
from webhook.errors import KubernetesError, RollonceError
from webhook.hooks.dedupe.confirm import Confirmer
from webhook.hooks.dedupe.core.run import OrchestrationRun
from webhook.hooks.dedupe.runs import Runs
from webhook.hooks.dedupe.settings import DedupeSettings

_CALL_SECONDS: Final = 30.0
#: Confirmations under way at a time while a list is read.
_AT_ONCE: Final = 16
#: The API server sends a bookmark each minute; when it is silent for longer, the connection may be dead.
_SILENCE_SECONDS: Final = 90.0
_WATCH_SECONDS: Final = 300.0
_STATUS_BYTES: Final = 65_536
#: A watch that worked for so long before it broke is no failure in a row.
_LONG_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Place:
    """How far a namespace has been read.

    Attributes:
        selection: Its runs.
        namespace: Its name; empty for all.
        version: From which a watch goes on; empty if there has to be a list first.
        told: The last problem that was logged.
    """

    selection: Selection
    namespace: str
    version: str = ""
    told: str = ""


class Sightings:
    """Follows runs and confirms each; a part of the controller.

    Args:
        api: The API server; each namespace takes one of its connections.
        runs: Reads lists.
        confirmer: Writes down what was seen.
        settings: For the namespaces and the kind.
        monotonic: A monotonic clock, in seconds.
        chance: A random number from 0 to 1.
        sleep: Waits for seconds.
        log: Told of problems, and of their end.
    """

    name = "confirmations"

    def __init__(
        self,
        api: KubernetesClient,
        runs: Runs,
        confirmer: Confirmer,
        settings: DedupeSettings,
        *,
        monotonic: Callable[[], float],
        chance: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        log: FilteringBoundLogger,
    ) -> None:
        self._api = api
        self._runs = runs
        self._confirmer = confirmer
        self._places = [
            _Place(Selection(settings.resource.collection(namespace)), namespace)
            for namespace in settings.namespaces or ("",)
        ]
        self._monotonic = monotonic
        self._chance = chance
        self._sleep = sleep
        self._log = log
        self._decoder = msgspec.json.Decoder(OrchestrationRun)
        self._backoff = Backoff()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for place in self._places:
                group.create_task(self._keep_following(place))

    async def _keep_following(self, place: _Place) -> None:
        failures = 0
        while True:
            began = self._monotonic()
            problem = await self._follow(place)
            if problem is None:
                failures = 0
                continue
            failures = 1 if self._monotonic() - began > _LONG_SECONDS else failures + 1
            wait = self._backoff.delay(failures - 1, self._chance())
            await self._sleep(max(wait, problem.retry_after) if isinstance(problem, RefusedError) else wait)

    async def _follow(self, place: _Place) -> RollonceError | None:
        """List if that has to be, then watch until the watch ends; returns why, if not because its time was over."""
        problem: RollonceError
        try:
            if not place.version:
                await self._read_all(place)
            await self._watch(place)
        except RollonceError as error:
            problem = error
        except (*DecodeError, LineTooLongError):
            # The text of the error could repeat what it was about.
            problem = GoneError(f"The watch of {place.selection} holds what is no object.")
        else:
            return None
        if isinstance(problem, GoneError):
            place.version = ""
        if str(problem) != place.told:
            place.told = str(problem)
            self._log.warning("Runs cannot be confirmed by the watch now.", problem=str(problem))
        return problem

    async def _read_all(self, place: _Place) -> None:
        version = None
        async for page in self._runs.pages(place.namespace, self._deadline):
            version = version or page.version
            for start in range(0, len(page.runs), _AT_ONCE):
                await self._confirm(page.runs[start : start + _AT_ONCE])
        if not version:
            raise KubernetesError(f"The list of {place.selection} has no version to watch from.")
        place.version = version

    async def _confirm(self, runs: Sequence[OrchestrationRun]) -> None:
        ways = (self._confirmer.confirm(run, self._deadline(), by="watch") for run in runs)
        for end in await asyncio.gather(*ways, return_exceptions=True):
            if isinstance(end, BaseException):
                raise end

    async def _watch(self, place: _Place) -> None:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": place.version,
            "timeoutSeconds": f"{_WATCH_SECONDS * (1 + self._chance()):.0f}",
        }
        selection = place.selection
        async with self._api.stream(
            selection.path, query=query, accept=selection.accept, silence=_SILENCE_SECONDS
        ) as response:
            if response.status != 200:
                body = await response.content.read(_STATUS_BYTES)
                raise refusal("watch", selection, response.status, body, None)
            if place.told:
                place.told = ""
                self._log.info("Runs are confirmed by the watch again.")
            lines = LineSplitter()
            async for piece in response.content.iter_any():
                for line in lines.feed(piece):
                    await self._take(place, event_decoder.decode(line))

    async def _take(self, place: _Place, event: Event) -> None:
        """Act on an event; only then it counts as read."""
        match event.type:
            case "BOOKMARK":
                place.version = bookmark_version(event.object)
            case "ERROR":
                status = read_status(event.object)
                raise refusal("watch", place.selection, status.code, bytes(event.object), None)
            case _:
                metadata = partial_decoder.decode(event.object).metadata
                try:
                    run = self._decoder.decode(event.object)
                except DecodeError:
                    self._log.warning("A run cannot be understood and is left out.", run=str(metadata.key))
                else:
                    await self._confirmer.confirm(run, self._deadline(), by="watch")
                place.version = metadata.resource_version

    def _deadline(self) -> Deadline:
        return Deadline.after(_CALL_SECONDS, self._monotonic)
