"""How webhook configurations on an API server differ from those that the settings lead to."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from webhook.admission.registered import differences
from webhook.admission.registration import (
    Installation,
    RegistrationOptions,
    ServiceEndpoint,
    UrlEndpoint,
    configurations,
)
from webhook.app import Application
from webhook.features import FEATURES

Json = dict[str, Any]
Change = Callable[[Json], None]

APPLICATION = Application(FEATURES)
SERVICE = Installation(ServiceEndpoint("ops", "rollonce"))


def rendered(installation: Installation = SERVICE, *listed: str) -> list[Json]:
    """Return the configurations for an operator's list."""
    options = RegistrationOptions(controller_user="system:serviceaccount:ops:c", policy_namespaces=listed)
    return configurations(APPLICATION.registrations(options), installation)


#: How many webhooks there are, without an operator's list.
ALL = sum(len(one["webhooks"]) for one in rendered())


def found(wanted: list[Json], live: list[Json]) -> list[str]:
    """Return the differences as texts, without the domain of the webhooks."""
    return [str(one).replace(".rollonce.proompteng.ai", "") for one in differences(wanted, live)]


def changed(change: Change, name: str = "mutate-deployments") -> list[Json]:
    """Return the configurations after a change of one webhook."""
    live = copy.deepcopy(rendered())
    (webhook,) = [one for one in live[0]["webhooks"] if one["name"].startswith(f"{name}.")]
    change(webhook)
    return live


def test_what_is_rendered_does_not_differ_from_itself() -> None:
    """Neither for a Service nor for a URL, with and without a list."""
    for installation in (SERVICE, Installation(UrlEndpoint("https://h:1"))):
        for listed in ((), ("shop", "web")):
            assert differences(rendered(installation, *listed), rendered(installation, *listed)) == ()


def test_the_webhooks_of_the_list_are_missing_in_the_stock_configurations() -> None:
    """Each is named with its configuration; and the other way round they are superfluous."""
    kinds = ("deployments", "statefulsets", "daemonsets")
    where = "in MutatingWebhookConfiguration rollonce"
    assert found(rendered(SERVICE, "shop"), rendered()) == [
        f"mutate-listed-{kind} {where}: is missing" for kind in kinds
    ]
    unwanted = "is registered, but not wanted by the settings"
    assert found(rendered(), rendered(SERVICE, "shop")) == [
        f"mutate-listed-{kind} {where}: {unwanted}" for kind in kinds
    ]


def test_another_list_differs_in_its_namespaces() -> None:
    """A list of fewer namespaces would leave out workloads; one of more would send what is not listed."""
    for live in (("shop",), ("shop", "web", "lab")):
        texts = found(rendered(SERVICE, "shop", "web"), rendered(SERVICE, *live))
        assert texts == [
            f"mutate-listed-{kind} in MutatingWebhookConfiguration rollonce: namespaceSelector differs"
            for kind in ("deployments", "statefulsets", "daemonsets")
        ]


def test_nothing_registered_lacks_every_webhook() -> None:
    """No configuration exists, or only one of the two."""
    names = [webhook["name"] for one in rendered() for webhook in one["webhooks"]]
    assert [one.webhook for one in differences(rendered(), [])] == names
    assert [one.webhook for one in differences(rendered(), rendered()[:1])] == names[len(rendered()[0]["webhooks"]) :]


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("clientConfig", lambda w: w["clientConfig"]["service"].update(namespace="other")),
        ("clientConfig", lambda w: w["clientConfig"]["service"].update(port=8443)),
        ("clientConfig", lambda w: w["clientConfig"]["service"].pop("path")),
        ("clientConfig", lambda w: w.update(clientConfig={"url": "https://h/mutate/deployments"})),
        ("rules", lambda w: w["rules"][0].update(operations=["CREATE"])),
        ("rules", lambda w: w["rules"][0].update(scope="*")),
        ("rules", lambda w: w["rules"].append(w["rules"][0])),
        ("rules", lambda w: w.pop("rules")),
        ("matchConditions", lambda w: w["matchConditions"].pop()),
        ("matchConditions", lambda w: w["matchConditions"].append({"name": "x", "expression": "true"})),
        ("matchConditions", lambda w: w["matchConditions"][0].update(expression="true")),
        ("namespaceSelector", lambda w: w.pop("namespaceSelector")),
        ("objectSelector", lambda w: w["objectSelector"]["matchExpressions"][0].update(values=["other"])),
        ("objectSelector", lambda w: w["objectSelector"]["matchExpressions"][0].update(operator="In")),
        ("failurePolicy", lambda w: w.pop("failurePolicy")),
        ("failurePolicy", lambda w: w.update(failurePolicy="Fail")),
        ("sideEffects", lambda w: w.update(sideEffects="Unknown")),
        ("matchPolicy", lambda w: w.update(matchPolicy="Exact")),
        ("reinvocationPolicy", lambda w: w.pop("reinvocationPolicy")),
        ("admissionReviewVersions", lambda w: w.update(admissionReviewVersions=["v1beta1"])),
    ],
)
def test_what_decides_about_calls_counts(field: str, change: Change) -> None:
    """The field is named, and only that one."""
    assert found(rendered(), changed(change)) == [
        f"mutate-deployments in MutatingWebhookConfiguration rollonce: {field} differs"
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w["clientConfig"].update(caBundle="eA=="),
        lambda w: w["clientConfig"]["service"].pop("port"),
        lambda w: w.update(timeoutSeconds=10),
        lambda w: w.pop("timeoutSeconds"),
        lambda w: w.update(admissionReviewVersions=["v1beta1", "v1"]),
        lambda w: w["rules"][0].update(operations=["UPDATE", "CREATE"]),
        lambda w: w["matchConditions"].reverse(),
        lambda w: w.pop("matchPolicy"),
        lambda w: w["namespaceSelector"]["matchExpressions"][0].update(values=["lab", "kube-system"]),
        lambda w: w["namespaceSelector"]["matchExpressions"].append(
            {"key": "control-plane", "operator": "DoesNotExist"}
        ),
        lambda w: w["objectSelector"].update(matchLabels={"tier": "web"}),
        lambda w: w.update(a_field_of_a_later_version=1),
    ],
)
def test_what_others_may_set_does_not_count(change: Change) -> None:
    """The CA, timeouts, further exclusions, order, defaults, and fields of later versions."""
    assert found(rendered(), changed(change)) == []


def test_metadata_and_webhooks_of_others_do_not_count() -> None:
    """A webhook of ours may be in another configuration of the same kind that the settings name."""
    live = copy.deepcopy(rendered())
    live[0]["metadata"].update(labels={"team": "a"}, annotations={"b": "c"})
    live[0]["webhooks"].append({"name": "other.example.com", "rules": []})
    moved = copy.deepcopy(live[0])
    moved["metadata"]["name"] = "second"
    moved["webhooks"] = [live[0]["webhooks"].pop(0)]
    assert found(rendered(), [*live, moved]) == []
    moved["webhooks"][0]["failurePolicy"] = "Fail"
    assert found(rendered(), [*live, moved]) == [
        "mutate-deployments in MutatingWebhookConfiguration second: failurePolicy differs"
    ]


def test_a_configuration_of_the_other_kind_is_not_meant() -> None:
    """A mutating webhook in a validating configuration is not what is wanted."""
    live = copy.deepcopy(rendered())
    live[1]["kind"], live[0]["kind"] = live[0]["kind"], live[1]["kind"]
    texts = found(rendered(), live)
    assert len([text for text in texts if text.endswith("is missing")]) == ALL
    assert len([text for text in texts if text.endswith("settings")]) == ALL


def test_a_configuration_without_webhooks_lacks_all() -> None:
    """The API server may return null for an empty list."""
    live = [{**one, "webhooks": None} for one in rendered()]
    assert len(differences(rendered(), live)) == ALL
