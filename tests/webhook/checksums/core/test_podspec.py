"""The Secrets and ConfigMaps that a pod template references."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.checksums.manifests import config_map, manifest, secret, workload
from webhook.checksums.core.keys import Source
from webhook.checksums.core.podspec import references


def of(**pod_spec: Any) -> dict[Source, bool]:
    """Return the references of a pod spec."""
    return references(workload(manifest(pod_spec=pod_spec)).pod_spec)


CONTAINER_FORMS = [
    ({"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}, secret("s")),
    ({"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]}, config_map("c")),
    ({"envFrom": [{"secretRef": {"name": "s"}}]}, secret("s")),
    ({"envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}]}, config_map("c")),
]
VOLUME_FORMS = [
    ({"name": "v", "secret": {"secretName": "s"}}, secret("s")),
    ({"name": "v", "configMap": {"name": "c"}}, config_map("c")),
    ({"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}, secret("s")),
    ({"name": "v", "projected": {"sources": [{"configMap": {"name": "c"}}]}}, config_map("c")),
]


@pytest.mark.parametrize("field", ["containers", "initContainers"])
@pytest.mark.parametrize(("container", "source"), CONTAINER_FORMS)
def test_containers(field: str, container: dict[str, Any], source: Source) -> None:
    """Single variables and whole objects count, in containers and init containers."""
    assert of(**{field: [{"name": "x", **container}]}) == {source: False}


def test_sidecars() -> None:
    """An init container that is restarted always is a sidecar, and counts."""
    sidecar = {"name": "x", "restartPolicy": "Always", "envFrom": [{"secretRef": {"name": "s"}}]}
    assert of(initContainers=[sidecar]) == {secret("s"): False}


@pytest.mark.parametrize(("volume", "source"), VOLUME_FORMS)
def test_volumes(volume: dict[str, Any], source: Source) -> None:
    """Volumes count, whether projected or not."""
    assert of(volumes=[volume]) == {source: False}


@given(flags=st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=5))
def test_optional_only_if_every_reference_is(flags: list[bool | None]) -> None:
    """One reference that is not optional keeps the pod from starting."""
    env_from = [{"secretRef": {"name": "s", "optional": flag}} for flag in flags]
    assert of(containers=[{"envFrom": env_from}]) == {secret("s"): all(flag is True for flag in flags)}


def test_every_form_can_be_optional() -> None:
    """In environment variables, `envFrom` and volumes."""
    container = {
        "env": [{"valueFrom": {"secretKeyRef": {"name": "a", "optional": True}}}],
        "envFrom": [{"configMapRef": {"name": "b", "optional": True}}],
    }
    volumes = [
        {"secret": {"secretName": "c", "optional": True}},
        {"configMap": {"name": "d", "optional": True}},
        {"projected": {"sources": [{"secret": {"name": "e", "optional": True}}]}},
    ]
    found = of(containers=[container], volumes=volumes)
    assert found == dict.fromkeys([secret("a"), config_map("b"), secret("c"), config_map("d"), secret("e")], True)


def test_credentials_of_the_kubelet_do_not_count() -> None:
    """Credentials for pulling images and mounting storage are not visible to a running pod."""
    volumes = [
        {"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "s"}}},
        {"name": "w", "rbd": {"secretRef": {"name": "s"}}},
        {"name": "x", "azureFile": {"secretName": "s"}},
    ]
    assert of(imagePullSecrets=[{"name": "s"}], volumes=volumes) == {}


@pytest.mark.parametrize(
    "pod_spec",
    [
        {"containers": None, "initContainers": None, "volumes": None},
        {"containers": [{"env": None, "envFrom": None}], "volumes": [{"projected": None}]},
        {"containers": [{"env": [{"valueFrom": None}, {"value": "x"}], "envFrom": [{}]}]},
        {"volumes": [{"projected": {"sources": None}}, {"projected": {"sources": [{"serviceAccountToken": {}}]}}]},
        {"volumes": [{"secret": {}}, {"configMap": {"name": ""}}, {"emptyDir": {}}]},
        {"containers": [{"env": [{"valueFrom": {"secretKeyRef": {"key": "k"}}}]}]},
    ],
)
def test_no_references(pod_spec: dict[str, Any]) -> None:
    """Absent and null references, and those without a name, do not count."""
    assert of(**pod_spec) == {}
