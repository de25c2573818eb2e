"""Create runs until each delivery has its one run, and follow them to their end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec

from webhook.admission.text import shown
from webhook.dedupe.core.identity import LABEL, is_generated
from webhook.dedupe.core.run import OrchestrationRun, Resource
from webhook.dedupe.core.submit_documents import RunDocument
from webhook.dedupe.core.submit_reply import (
    AlreadyThere,
    Created,
    Later,
    Refused,
    RunEnd,
    create_answer,
    end_of,
    later_of,
)
from webhook.dedupe.core.submit_reply import refusal as refusal_of
from webhook.errors import DeadlineExceededError, KubernetesError, RejectedError, RollonceError
from webhook.kube.api import KubernetesApi, Reply
from webhook.kube.objects import DECODE_ERRORS
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.decoding import DeepDecoder

#: Between attempts, if the API server does not say how long to wait.
_RETRY: Final = Backoff(first=1.0, limit=30.0)
#: Between reads of a run that is followed; it starts again with each change of the phase.
_POLL: Final = Backoff(first=0.5, limit=5.0)
_STRICT: Final = {"fieldValidation": "Strict"}

_run_decoder: Final = DeepDecoder(OrchestrationRun)


class SubmittedRun(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The one run of a delivery, as `-o json` writes it.

    Attributes:
        name: Its name.
        namespace: Its namespace.
        uid: Its uid; empty if unknown.
        phase: Its phase as the API server has it now; empty if it has none yet, or cannot be read.
        run_id: `status.runId`, likewise.
        idempotent: Whether it was there before, so that nothing was created now.
        payload_mismatch: Whether its parameters are others than those that were submitted.
        stored: False if it was deleted since; None if that cannot be read.
    """

    name: str
    namespace: str
    uid: str
    phase: str = ""
    run_id: str = ""
    idempotent: bool = False
    payload_mismatch: bool = False
    stored: bool | None = True

    @property
    def state(self) -> str:
        """The phase as messages show it."""
        return {True: shown(self.phase) or "Pending", False: "(deleted)", None: "(unknown)"}[self.stored]

    @property
    def end(self) -> RunEnd | None:
        """How it has ended; None if it has not, or if that is unknown."""
        return end_of(self.phase) if self.stored else None


class Submitter:
    """Submit runs as a client that can be asked again.

    Args:
        api: The API server, with the caller's rights.
        resource: The resource of the runs.
        clock: Sleep and jitter.
        deadline: When to give up.
        tell: Shows a line to the caller: what is waited for, and how it goes on.
    """

    def __init__(
        self, api: KubernetesApi, resource: Resource, *, clock: Clock, deadline: Deadline, tell: Callable[[str], None]
    ) -> None:
        self._api = api
        self._resource = resource
        self._clock = clock
        self._deadline = deadline
        self._tell = tell

    async def submit(self, document: RunDocument, namespace: str) -> SubmittedRun:
        """Return the run of a document, which is created if there is none yet.

        Raises:
            RejectedError: It is refused, or time is over.
            KubernetesError: It is unknown whether it was created.
        """
        gone = ""
        while True:
            reply = await self._create(document, namespace)
            match create_answer(reply.status, reply.body, reply.retry_after, self._resource):
                case Created():
                    return self._created(document, _decoded(reply), namespace)
                case AlreadyThere() as answer:
                    known = answer.compared or gone == answer.name
                    if found := await self._existing(document, answer, namespace, known=known):
                        return found
                    # Storage had it a moment ago. If it has it again, and a read does not, the answer is the webhook's.
                    gone = answer.name
                case Refused(reason) | Later(reason):  # The latter was waited for already.
                    raise RejectedError(f"{document.title}: {reason}")

    async def follow(self, run: SubmittedRun) -> SubmittedRun:
        """Read a run until it has ended, and return it as it was read last.

        If it was deleted, may not be read, or has not ended in time, the caller learns that.
        """
        title, shown_phase, reads = f"{run.namespace}/{run.name}", None, 0
        while run.stored and run.end is None:
            if run.phase != shown_phase:
                self._tell(f"{title}: {run.state}")
                shown_phase, reads = run.phase, 0
            wait = _POLL.delay(reads, self._clock.jitter())
            if wait >= self._deadline.remaining():
                self._tell(f"error: {title} has not ended in time: {run.state}")
                return run
            await self._clock.sleep(wait)
            reads += 1
            try:
                run = await self._read(run)
            except RollonceError as error:
                self._tell(f"error: {error}")
                return run
        if run.stored is None:
            self._tell(f"error: {title} may not be read, so that it cannot be followed")
        elif not run.stored:
            self._tell(f"error: {title} was deleted; how it ended is unknown")
        else:
            self._tell(f"{title}: {run.state}")
        return run

    async def _create(self, document: RunDocument, namespace: str) -> Reply:
        """Send the create until it is answered.

        If it may have been stored already, and only the webhook would recognize a second one, a dry run shows first
        whether the webhook is called.
        """
        path, attempts, checking, checked = self._resource.collection(namespace), 0, False, False
        while True:
            query = {**_STRICT, "dryRun": "All"} if checking else _STRICT
            sent = await self._sent(partial(self._api.send, "POST", path, document.body, self._deadline, query=query))
            if isinstance(sent, Later):
                checking = checking or (sent.maybe_stored and document.needs_webhook and not checked)
                await self._wait(document.title, sent, attempts)
                attempts += 1
            elif checking and sent.ok:
                if LABEL not in (_decoded(sent).labels or {}):
                    raise KubernetesError(
                        f"{document.title}: whether the run was created is unknown, and a second create would make a "
                        "second run, because no webhook of rollonce handles it here. Look for the run, or give it a "
                        "metadata.name."
                    )
                checking, checked = False, True
            else:
                return sent

    async def _existing(
        self, document: RunDocument, answer: AlreadyThere, namespace: str, *, known: bool
    ) -> SubmittedRun | None:
        """Return the run that an answer names, or None if there is none any more and only storage had answered.

        Args:
            document: What was submitted.
            answer: The answer.
            namespace: The namespace.
            known: Whether the run is known to be that of the delivery, whatever a read shows.
        """
        run = SubmittedRun(
            name=answer.name,
            namespace=namespace,
            uid=answer.uid,
            idempotent=True,
            payload_mismatch=answer.mismatch,
            stored=None,
        )
        stored = await self._get(namespace, answer.name)
        if isinstance(stored, Refused):
            delivery_id = document.run.delivery_id
            if not known and not (delivery_id and is_generated(answer.name, document.run.ref, delivery_id)):
                raise RejectedError(f"{document.title}: {answer.message}. Whether that is its run cannot be read.")
            self._tell(f"{namespace}/{answer.name}: its phase cannot be read: {stored.message}")
            return run
        if stored is None:
            return msgspec.structs.replace(run, stored=False) if known else None
        if stored.uid != answer.uid if answer.uid else not document.is_same_delivery(stored):
            if known:
                # It was deleted, and another one has its name.
                return msgspec.structs.replace(run, stored=False)
            raise RejectedError(
                f'{document.title}: another {self._resource.kind} has the name "{answer.name}". Choose another name, '
                "or use generateName and a deliveryId."
            )
        mismatch = answer.mismatch or (not answer.uid and stored.fingerprint != document.run.fingerprint)
        return _with_state(msgspec.structs.replace(run, payload_mismatch=mismatch), stored)

    def _created(self, document: RunDocument, run: OrchestrationRun, namespace: str) -> SubmittedRun:
        if document.run.delivery_id is not None and LABEL not in (run.labels or {}):
            self._tell(
                f"{namespace}/{run.name}: no webhook of rollonce has handled this create: a second one of the same "
                "deliveryId would not be recognized here"
            )
        return _with_state(SubmittedRun(name=run.name, namespace=namespace, uid=run.uid), run)

    async def _read(self, run: SubmittedRun) -> SubmittedRun:
        """Return a run as the API server has it now."""
        stored = await self._get(run.namespace, run.name)
        if isinstance(stored, Refused):
            return msgspec.structs.replace(run, stored=None)
        if stored is None or stored.uid != run.uid:
            return msgspec.structs.replace(run, stored=False)
        return _with_state(run, stored)

    async def _get(self, namespace: str, name: str) -> OrchestrationRun | Refused | None:
        """Read a run until the read is answered; None if there is none."""
        path, attempts = self._resource.item(namespace, name), 0
        while True:
            sent = await self._sent(partial(self._api.get, path, self._deadline))
            if isinstance(sent, Later):
                await self._wait(f"{namespace}/{name}", sent, attempts)
                attempts += 1
            elif sent.ok:
                return _decoded(sent)
            elif sent.status == 404:
                return None
            else:
                return Refused(refusal_of(sent.status, sent.body, self._resource))

    async def _sent(self, send: Callable[[], Awaitable[Reply]]) -> Reply | Later:
        """Send a request once."""
        try:
            reply = await send()
        except DeadlineExceededError:
            return Later("no time is left")
        except KubernetesError as error:
            text = str(error).rstrip(".")
            return Later(text[:1].lower() + text[1:])
        return later_of(reply.status, reply.body, reply.retry_after) or reply

    async def _wait(self, title: str, later: Later, attempts: int) -> None:
        """Wait before the next attempt.

        Raises:
            RejectedError: The time would be over before.
        """
        delay = later.seconds + self._clock.jitter() if later.seconds else _RETRY.delay(attempts, self._clock.jitter())
        if delay >= self._deadline.remaining():
            raise RejectedError(
                f"{title}: gave up, because {later.reason}. Submit the same again later: nothing is created twice."
            )
        self._tell(f"{title}: {later.reason}; trying again in {delay:.1f} s")
        await self._clock.sleep(delay)


def _with_state(run: SubmittedRun, stored: OrchestrationRun) -> SubmittedRun:
    return msgspec.structs.replace(run, uid=stored.uid, phase=stored.phase, run_id=stored.run_id, stored=True)


def _decoded(reply: Reply) -> OrchestrationRun:
    try:
        return _run_decoder.decode(reply.body)
    except DECODE_ERRORS:
        raise KubernetesError("The API server's reply about a run cannot be decoded.") from None
