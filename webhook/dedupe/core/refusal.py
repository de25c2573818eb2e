"""Why a create is refused for now, and when to try again."""

from __future__ import annotations

from webhook.dedupe.core import retry_after
from webhook.dedupe.core.decide import Known, Live, Policy, Proof, Recall, Requester, Situation, StoreState
from webhook.dedupe.core.reservation import ReserveResult


def refusal(facts: Situation, result: ReserveResult | None, *, lease: int, outage: float) -> tuple[str, int]:
    """Return the reason, as part of a sentence, and the seconds after which to try again.

    Args:
        facts: The facts that led to the verdict `UNAVAILABLE`.
        result: The store's answer; None if it did not answer.
        lease: The lease of a reservation in ms.
        outage: For how many seconds the store has not answered.
    """
    if facts.requester is Requester.UNACKNOWLEDGED and facts.record is not Known.NONE:
        return "too few replicas of Redis have acknowledged its reservation", retry_after.SHORTEST
    if facts.live is Live.UNKNOWN:
        return "the API server does not answer", retry_after.SHORTEST
    if result is None:
        return f"Redis cannot be used{_known_without_store(facts)}", retry_after.for_outage(outage)
    if facts.store is StoreState.LOST and (facts.policy is Policy.STOP or facts.record is Known.NONE):
        return _lost(facts, result, lease)
    if facts.proof is Proof.NONE and result.record is not None:
        why = (
            f'the run "{result.record.name}" of an earlier create does not exist, and it is unknown whether it was '
            "deleted (dedupe.onUnproved: deny); an operator can free the delivery by: rollonce runs forget"
        )
        return why, retry_after.UNPROVED
    return "it cannot be decided", retry_after.SHORTEST


def _lost(facts: Situation, result: ReserveResult, lease: int) -> tuple[str, int]:
    if result.doubted:
        return (
            "another replica could not reach Redis, or the state of deduplication cannot be read",
            retry_after.SHORTEST,
        )
    known = _known_without_store(facts)
    why = f"Redis has lost records, and creates that they were for may still be under way{known}"
    left = result.mark.lost_at + lease - result.now
    return why, retry_after.for_lease(left / 1000, lease / 1000)


def _known_without_store(facts: Situation) -> str:
    if facts.policy is Policy.GO and facts.recall is Recall.BLIND:
        return ", and this replica has not read its records yet"
    return _remembered(facts)


def _remembered(facts: Situation) -> str:
    remembered = facts.policy is Policy.GO and facts.recall is Recall.YES
    return ", and an earlier create of the delivery was allowed" if remembered else ""
