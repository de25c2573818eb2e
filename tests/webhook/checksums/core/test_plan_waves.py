"""Waves under random events, as a model: contents change in haste; workloads break, are paused, roll by themselves."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.webhook.checksums.decisions import STAGED, decision
from tests.webhook.checksums.manifests import Json, applied, manifest, workload
from webhook.checksums.core.decide import NOTHING_DECIDED
from webhook.checksums.core.inputs import Found
from webhook.checksums.core.keys import REVISION, SECRETS
from webhook.checksums.core.kinds import DEPLOYMENT, WorkloadId
from webhook.checksums.core.plan import Observed, Plan, plan
from webhook.checksums.core.rollout import Rollout

KEY = "checksum/secret.db"
EVENTS = ("good", "bad", "finish", "finish", "finish", "image", "repair", "pause", "resume", "restart")


@dataclass
class Shop:
    """A Deployment that depends on the Secret `db`.

    Attributes:
        tree: Its manifest.
        rollout: The progress of its rollout.
        paused: Whether its author has paused it.
        broken: Whether its image cannot start.
    """

    tree: Json
    rollout: Rollout = Rollout.DONE
    paused: bool = False
    broken: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.tree["metadata"]["name"])

    @property
    def revision(self) -> int:
        """The number of its rollout."""
        return int(self.tree["metadata"]["annotations"][REVISION])

    @property
    def checksum(self) -> str:
        """The checksum in its pod template."""
        return str((self.tree["spec"]["template"]["metadata"]["annotations"] or {}).get(KEY, ""))

    def roll(self) -> None:
        """Start a rollout."""
        if self.paused:
            self.rollout = Rollout.PAUSED
        else:
            self.tree["metadata"]["annotations"][REVISION] = str(self.revision + 1)
            self.rollout = Rollout.ROLLING


@dataclass
class Namespace:
    """Deployments that depend on one Secret, and the contents of the Secret.

    Attributes:
        limit: How many may roll at a time.
        shops: The Deployments.
        contents: The present contents.
        bad: Contents with which no workload starts.
        given: The healthy workloads that got each contents.
        changes: How many contents there have been.
    """

    limit: int
    shops: list[Shop]
    contents: str = ""
    bad: set[str] = field(default_factory=set)
    given: dict[str, set[str]] = field(default_factory=dict)
    changes: int = 0

    def change(self, *, bad: bool) -> None:
        """Change the contents of the Secret."""
        self.changes += 1
        self.contents = hashlib.sha256(str(self.changes).encode()).hexdigest()
        if bad:
            self.bad.add(self.contents)

    def finish(self, shop: Shop) -> None:
        """End a rollout, one way or the other."""
        works = not shop.broken and shop.checksum not in self.bad
        shop.rollout = Rollout.DONE if works else Rollout.FAILED

    def reconcile(self) -> Plan:
        """Make a plan and carry it out, as a controller without any memory."""
        before = {shop.name for shop in self.shops if shop.rollout is Rollout.ROLLING}
        planned = plan([self._observed(shop) for shop in self.shops], self.limit)
        for observed in planned.write:
            shop = next(shop for shop in self.shops if shop.name == observed.id.name)
            if shop.rollout is Rollout.DONE and not shop.broken and not shop.paused:
                self.given.setdefault(self.contents, set()).add(shop.name)
            shop.tree = applied(shop.tree, observed.decision.operations)
            shop.roll()
        after = {shop.name for shop in self.shops if shop.rollout is Rollout.ROLLING}
        assert len(after) <= max(self.limit, len(before))
        return planned

    def _observed(self, shop: Shop) -> Observed:
        before = Observed(
            id=WorkloadId("prod", DEPLOYMENT, shop.name),
            workload=workload(shop.tree),
            resource_version="1",
            rollout=shop.rollout,
            replaces_pods=not shop.paused,
            decision=NOTHING_DECIDED,
            rollout_id=str(shop.revision),
            rollout_number=shop.revision,
        )
        decided = decision(shop.tree, Found(self.contents), rules=STAGED, controller=True, standing=before.standing)
        return Observed(**{name: getattr(before, name) for name in before.__slots__} | {"decision": decided})


def new_namespace(count: int, limit: int) -> Namespace:
    """Return a namespace whose Deployments have no checksums yet."""
    shops = [
        Shop(manifest(annotations={SECRETS: "db", REVISION: "1"}, name=f"shop-{number}")) for number in range(count)
    ]
    made = Namespace(limit, shops)
    made.change(bad=False)
    return made


def happen(event: str, there: Namespace, shop: Shop) -> None:
    """Let an event happen, to a Deployment if it is about one."""
    match event:
        case "good" | "bad":
            there.change(bad=event == "bad")
        case "finish" if shop.rollout is Rollout.ROLLING:
            there.finish(shop)
        case "image" | "repair":
            # Its author deploys another image, which may not start.
            shop.broken = event == "image"
            shop.roll()
        case "pause" if not shop.paused:
            shop.paused = True
            if shop.rollout is Rollout.ROLLING:
                # Whoever pauses a rollout half way gives its place to another workload.
                there.given.get(shop.checksum, set()).discard(shop.name)
            shop.rollout = Rollout.PAUSED if shop.rollout is Rollout.ROLLING else shop.rollout
        case "resume" if shop.paused:
            shop.paused = False
            if shop.rollout is Rollout.PAUSED:
                shop.roll()


@settings(max_examples=300)
@given(
    count=st.integers(1, 8),
    limit=st.integers(1, 3),
    events=st.lists(st.sampled_from(EVENTS), max_size=60),
    seed=st.integers(),
)
def test_the_bound_is_kept_and_all_are_current_in_the_end(count: int, limit: int, events: list[str], seed: int) -> None:
    """For any events; contents that break are given to no more healthy workloads than may roll at a time."""
    randomness, there = random.Random(seed), new_namespace(count, limit)
    for event in events:
        happen(event, there, randomness.choice(there.shops))
        there.reconcile()
    assert all(len(there.given.get(contents, ())) <= limit for contents in there.bad)
    # In the end the last contents work, and authors have repaired and resumed what was theirs.
    there.change(bad=False)
    for shop in there.shops:
        happen("resume", there, shop)
        if shop.broken:
            happen("repair", there, shop)
    for _ in range(10 * count):
        there.reconcile()
        rolling = [shop for shop in there.shops if shop.rollout is Rollout.ROLLING]
        if rolling:
            there.finish(randomness.choice(rolling))
    assert {(shop.checksum, shop.rollout) for shop in there.shops} == {(there.contents, Rollout.DONE)}


@settings(max_examples=100)
@given(count=st.integers(2, 8), limit=st.integers(1, 3), seed=st.integers())
def test_bad_contents_stop_and_say_so(count: int, limit: int, seed: int) -> None:
    """Whoever does not get them waits, and the plan names the workloads that they broke."""
    randomness, there = random.Random(seed), new_namespace(count, limit)
    there.change(bad=True)
    planned = there.reconcile()
    for _ in range(10 * count):
        rolling = [shop for shop in there.shops if shop.rollout is Rollout.ROLLING]
        if rolling:
            there.finish(randomness.choice(rolling))
        planned = there.reconcile()
    without = [shop.name for shop in there.shops if shop.checksum != there.contents]
    assert len(without) == max(0, count - limit)
    assert sorted(workload_id.name for workload_id in planned.queued) == sorted(without)
    assert bool(planned.stopped) == bool(without)
