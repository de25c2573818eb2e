"""The way of one create through the decision table, as an immutable state: what is known, and what to do next.

The validator carries out each step and adds the result; it decides nothing. Tests explore every order of steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from webhook.dedupe.core.decide import TABLE, Live, Policy, Proof, Recall, Situation, StoreState, Verdict, row_of
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.record import Record
from webhook.dedupe.core.reservation import UNREAD, Read, ReserveOutcome, ReserveResult, Rules, situation

#: A create that was allowed may be stored just after a read. After a pause and a second read this is excluded.
_PROOF_READS: Final = 2


@dataclass(frozen=True, slots=True)
class Create:
    """A create under review.

    Attributes:
        key: The delivery.
        record: The reservation to write.
        policy: What `onRedisDown` says about it.
        rules: The settings.
    """

    key: DeliveryKey
    record: Record
    policy: Policy
    rules: Rules


@dataclass(frozen=True, slots=True)
class Reserve:
    """Ask the store to write the record.

    Attributes:
        record: What to write.
        instead_of: The answer that was followed by a proof that no run of the delivery can exist; None without one.
        row: The row of the table that asks for it, from 0; None for the first attempt.
    """

    record: Record
    instead_of: ReserveResult | None = None
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Read the API server.

    Attributes:
        name: The run to read by GET; empty for none.
        by_label: Whether to read the delivery's runs by LIST.
        row: The row of the table that asks for it, from 0.
    """

    name: str
    by_label: bool
    row: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait a moment, then ask the store again.

    Attributes:
        row: The row of the table that asks for it, from 0.
    """

    row: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the create.

    Attributes:
        verdict: How.
        row: The row of the table that decided, from 0.
        situation: The facts that it decided by.
    """

    verdict: Verdict
    row: int
    situation: Situation


Step: TypeAlias = Reserve | Look | Pause | Answer


@dataclass(frozen=True, slots=True)
class Submission:
    """What is known about a create so far.

    Attributes:
        create: The create.
        asked: Whether the store was asked since the last pause.
        result: The store's answer; None if it was not asked or did not answer.
        read: What the API server has shown since then.
        recall: Whether this replica remembers the delivery, as of the last answer of the store.
        absences: For each read that found no run: the undecoded record that the store held at that time.
        unproved_name: Name of the run whose reservation was replaced without a proof that it is free
            (`onUnproved: allow`); empty if there is none.
    """

    create: Create
    asked: bool = False
    result: ReserveResult | None = None
    read: Read = UNREAD
    recall: Recall = Recall.BLIND
    absences: tuple[bytes, ...] = ()
    unproved_name: str = ""

    @property
    def situation(self) -> Situation:
        """The facts of the table."""
        create = self.create
        return situation(
            self.result,
            self.read,
            name=create.record.name,
            rules=create.rules,
            policy=create.policy,
            recall=self.recall,
        )

    def next_step(self, *, patient: bool) -> Step:
        """Return what to do next.

        Args:
            patient: Whether there is still time to wait for another create.
        """
        if not self.asked:
            return self._reserve(None)
        facts = self.situation
        row = row_of(facts)
        match TABLE[row].verdict:
            case Verdict.LOOK:
                record = self.result.record if self.result else None
                return Look(record.name if record else "", by_label=not self._proves_absence, row=row)
            case Verdict.RESERVE | Verdict.TAKE_OVER:
                return self._reserve(row)
            case Verdict.LOOK_AGAIN:
                return Pause(row)
            case Verdict.WAIT if patient:
                return Pause(row)
            case verdict:
                return Answer(verdict, row, facts)

    def after_reserve(self, result: ReserveResult | None, recall: Recall) -> Submission:
        """Return the state after the store has answered, or has not (None)."""
        return replace(
            self,
            asked=True,
            result=result,
            recall=recall,
            read=UNREAD,
            unproved_name=self._unproved_name if result and result.outcome is ReserveOutcome.MADE else "",
        )

    def after_look(self, read: Read) -> Submission:
        """Return the state after a read of the API server."""
        raw = self.result.raw if self.result else b""
        if read.live is not Live.ABSENT:
            return replace(self, read=read)
        absences = (*self.absences, raw)
        live = Live.GONE if absences.count(raw) >= _PROOF_READS else Live.ABSENT
        return replace(self, read=replace(read, live=live), absences=absences)

    def after_pause(self) -> Submission:
        """Return the state after a pause: everything but the counted absences is asked again."""
        return replace(self, asked=False, result=None, read=UNREAD)

    @property
    def _proves_absence(self) -> bool:
        result = self.result
        return result is not None and result.store_state(self.create.rules.lease) is StoreState.SYNCED

    @property
    def _unproved_name(self) -> str:
        """The name in the reservation that is replaced now, if nothing proves that it is free."""
        if not self.asked or self.result is None or self.result.record is None:
            return self.unproved_name
        facts = self.situation
        takes_over = TABLE[row_of(facts)].verdict is Verdict.TAKE_OVER
        return self.result.record.name if takes_over and facts.proof is Proof.TRUSTED else ""

    def _reserve(self, row: int | None) -> Reserve:
        """Ask for the record; after a read that proved the delivery to be free, instead of what the store holds."""
        record, result = self.create.record, self.result
        if result is None:
            return Reserve(record, row=row)
        if result.record is not None:
            record = replace(record, forgotten=result.record.forgotten)
        return Reserve(record, instead_of=result, row=row)
