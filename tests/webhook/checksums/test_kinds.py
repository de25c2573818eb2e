"""The table of kinds, and what follows from a row that is added to it."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest
import yaml

from tests.webhook.checksums.decisions import DENY, HOLD, KEY, MANAGED_DB, OPTED_IN, decision, inputs_of
from tests.webhook.checksums.manifests import CRON_JOB, A, B, Json, applied, workload
from webhook.admission.patch import Add, Replace
from webhook.admission.registration import RegistrationOptions
from webhook.checksums.controller.scope import Scope
from webhook.checksums.core.decide import NOTHING_DECIDED, Hold
from webhook.checksums.core.inputs import Absent, Found
from webhook.checksums.core.keys import MANAGED, SECRETS
from webhook.checksums.core.kinds import DEPLOYMENT, KINDS, WorkloadId, WorkloadKind, kind_called, kind_of
from webhook.checksums.core.plan import Observed
from webhook.checksums.core.render import Rendering
from webhook.checksums.core.rollout import Rollout, deployment_rollout, replaces_replicas
from webhook.checksums.core.workload import Workload
from webhook.checksums.feature import checksums_feature
from webhook.kube.listing import Selection
from webhook.kube.rbac import Access

#: A custom kind that rolls like a Deployment.
ARGO_ROLLOUT = WorkloadKind(
    "argoproj.io",
    "Rollout",
    "v1alpha1",
    "rollouts",
    ("ro",),
    can_pause=True,
    rollout=deployment_rollout,
    replaces_pods=replaces_replicas,
)
TEMPLATE = "/spec/jobTemplate/spec/template/metadata/annotations"


def cron_job(annotations: dict[str, str], template_annotations: dict[str, str] | None = None) -> Json:
    """Return a CronJob."""
    template = {"metadata": {"annotations": template_annotations}, "spec": {"containers": []}}
    return {
        "metadata": {"name": "shop", "annotations": annotations},
        "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}},
    }


def test_paths_and_names() -> None:
    """They follow from group, version and plural."""
    assert DEPLOYMENT.path() == "/apis/apps/v1/deployments"
    assert DEPLOYMENT.path("shop") == "/apis/apps/v1/namespaces/shop/deployments"
    assert WorkloadId("shop", CRON_JOB, "web").path == "/apis/batch/v1/namespaces/shop/cronjobs/web"
    core = WorkloadKind("", "ReplicationController", "v1", "replicationcontrollers", ("rc",))
    assert (core.api_version, core.path("shop")) == ("v1", "/api/v1/namespaces/shop/replicationcontrollers")
    assert str(WorkloadId("shop", CRON_JOB, "web")) == "shop/cronjob/web"


def test_an_identity_has_the_api_group() -> None:
    """Two kinds of the same name are two kinds, with a fixed order."""
    other = replace(DEPLOYMENT, group="example.com")
    first, second = WorkloadId("shop", DEPLOYMENT, "web"), WorkloadId("shop", other, "web")
    assert first != second
    assert first < second
    assert kind_of("example.com", "Deployment") is None
    assert kind_of("example.com", "Deployment", (*KINDS, other)) is other


@pytest.mark.parametrize("word", ["deploy", "deployment", "deployments", "Deployment"])
def test_words_of_kubectl(word: str) -> None:
    """The plural, the kind and the short names, in any case."""
    assert kind_called(word) is DEPLOYMENT
    assert kind_called("cj") is None
    assert kind_called("cj", (*KINDS, CRON_JOB)) is CRON_JOB


@pytest.mark.parametrize("path", [(), ("spec",), ("status", "template")])
def test_a_path_outside_of_the_spec_is_rejected(path: tuple[str, ...]) -> None:
    """The structs could not be made for it."""
    with pytest.raises(ValueError, match="must begin with spec"):
        replace(DEPLOYMENT, template_path=path)


class TestDeepTemplate:
    """A CronJob, whose pod template is deeper in the object."""

    def test_it_gets_its_checksum_at_the_right_path(self) -> None:
        """By the smallest patch; the second decision has nothing to change."""
        new = cron_job(OPTED_IN)
        decided = decision(new, Found(A), kind=CRON_JOB)
        assert decided.operations == (
            Add("/metadata/annotations/" + MANAGED.replace("/", "~1"), KEY),
            Add(TEMPLATE, {KEY: A}),
        )
        after = applied(new, decided.operations)
        assert after == cron_job(MANAGED_DB, {KEY: A})
        assert decision(after, Found(A), old=after, kind=CRON_JOB).operations == ()
        assert decision(after, Found(B), old=after, kind=CRON_JOB).operations == (
            Replace(f"{TEMPLATE}/checksum~1secret.db", B),
        )

    @pytest.mark.parametrize("spec", [{}, {"jobTemplate": None}, {"jobTemplate": {"spec": {"template": None}}}])
    def test_missing_levels_are_added(self, spec: Json) -> None:
        """Each of them can be absent or null."""
        new: Json = {"metadata": {"annotations": OPTED_IN}, "spec": spec}
        after = applied(new, decision(new, Found(A), kind=CRON_JOB).operations)
        template = after["spec"]["jobTemplate"]["spec"]["template"]
        assert template == {"metadata": {"annotations": {KEY: A}}}

    def test_references_are_found(self) -> None:
        """The pod spec is that of the path."""
        new = cron_job({SECRETS: "*"})
        pod_spec = new["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        pod_spec["containers"] = [{"envFrom": [{"secretRef": {"name": "db"}}]}]
        assert [str(source) for source in inputs_of(new, None, DENY, CRON_JOB).to_read] == ["secret/db"]

    def test_templates_are_compared(self) -> None:
        """A changed schedule is not a change of the template."""
        old, rescheduled, changed = cron_job(MANAGED_DB), cron_job(MANAGED_DB), cron_job(MANAGED_DB)
        rescheduled["spec"]["schedule"] = "@hourly"
        changed["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"] = [{"image": "shop:2"}]
        assert not inputs_of(rescheduled, old, DENY, CRON_JOB).touched
        assert inputs_of(changed, old, DENY, CRON_JOB).touched

    def test_it_cannot_be_held(self) -> None:
        """It has no pause: with `hold` it is refused until the object exists."""
        refusal = decision(cron_job(OPTED_IN), Absent(), rules=HOLD, kind=CRON_JOB).refusal
        assert refusal is not None
        assert "cannot be held" in refusal.message

    def test_the_controller_gets_the_same(self) -> None:
        """From a stored object; it replaces no running pods, so it never waits for a place."""
        stored = msgspec.json.decode(json.dumps(cron_job(OPTED_IN)), type=CRON_JOB.stored_type)
        seen = Workload.of_stored(CRON_JOB, stored)
        assert seen.patch(template_annotations={KEY: A}) == (Add(TEMPLATE, {KEY: A}),)
        rollout = CRON_JOB.rollout(stored)
        observed = Observed.of(WorkloadId("shop", CRON_JOB, "shop"), stored, rollout, NOTHING_DECIDED)
        assert (observed.rollout, observed.replaces_pods) == (Rollout.DONE, False)

    def test_it_is_rendered(self) -> None:
        """The annotation is added in place."""
        text = json.dumps({"apiVersion": "batch/v1", "kind": "CronJob", **cron_job(OPTED_IN)})
        secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: db}\ndata: {password: aHVudGVyMg==}\n"
        assert Rendering(text + "\n" + secret).render().workloads == ()
        rendered = Rendering(text + "\n" + secret, kinds=(*KINDS, CRON_JOB)).render()
        (made,) = rendered.workloads
        after, _ = yaml.safe_load_all(rendered.text)
        annotations = after["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["annotations"]
        assert (str(made.id), made.checksums) == ("default/cronjob/shop", annotations)
        assert annotations.keys() == {KEY}


class TestPausableCustomKind:
    """A kind of another group that rolls like a Deployment."""

    def test_it_can_be_held(self) -> None:
        """As `can_pause` says."""
        tree: Json = {"metadata": {"annotations": OPTED_IN}, "spec": {"template": {}}}
        decided = decision(tree, Absent(), rules=HOLD, kind=ARGO_ROLLOUT)
        assert decided.hold is Hold.PLACED
        assert applied(tree, decided.operations)["spec"]["paused"] is True

    def test_its_rollout_is_judged(self) -> None:
        """By the function of its row; the controller of this kind writes the observed generation as text."""
        counts = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
        tree = {"metadata": {"name": "a", "generation": 2}, "status": {"observedGeneration": "2", **counts}}
        stored = msgspec.convert(tree, ARGO_ROLLOUT.stored_type)
        assert ARGO_ROLLOUT.rollout(stored) is Rollout.DONE
        assert ARGO_ROLLOUT.replaces_pods(stored)


def test_registrations_follow_from_the_row() -> None:
    """A new kind gets webhooks of its own, and those of the other kinds do not change."""
    options = RegistrationOptions(policy_namespaces=("shop",))
    before = checksums_feature().webhooks(options)
    after = checksums_feature((*KINDS, CRON_JOB, ARGO_ROLLOUT)).webhooks(options)
    known = {webhook.registration for webhook in before}
    added = [webhook.registration for webhook in after if webhook.registration not in known]
    assert len(after) == len(before) + len(added)
    assert [(made.name, made.path) for made in added] == [
        ("mutate-cronjobs", "/mutate/cronjobs"),
        ("mutate-rollouts", "/mutate/rollouts"),
        ("mutate-listed-cronjobs", "/mutate/cronjobs"),
        ("mutate-listed-rollouts", "/mutate/rollouts"),
    ]
    (rule,) = added[1].rules
    assert (rule.group, rule.versions, rule.resources) == ("argoproj.io", ("v1alpha1",), ("rollouts",))


def test_watches_follow_from_the_row() -> None:
    """One more per namespace."""
    scope = Scope(Access.NAMESPACES, ("shop",), kinds=(*KINDS, CRON_JOB))
    assert scope.workload_selections()[CRON_JOB] == (Selection("/apis/batch/v1/namespaces/shop/cronjobs"),)
    assert scope.watches == 6


def test_a_workload_of_another_path_does_not_break_the_decoder() -> None:
    """A review that is sent to the wrong path is not an error of the program."""
    assert workload(cron_job(OPTED_IN)).template_annotations == {}
