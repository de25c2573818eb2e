"""Which checksums a workload should have."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.checksums.core.test_keys import NAMES
from tests.webhook.checksums.manifests import A, B, config_map, manifest, secret, workload
from webhook.checksums.core.keys import CONFIG_MAPS, ENABLED, SECRETS, Source, SourceKind
from webhook.checksums.core.optin import (
    MOST_SOURCES,
    OperatorPolicy,
    Requirement,
    Requirements,
    parse_list,
    required,
)

NO_POLICY = OperatorPolicy()
USES = {
    "containers": [{"envFrom": [{"secretRef": {"name": "db"}}, {"configMapRef": {"name": "app", "optional": True}}]}],
    "imagePullSecrets": [{"name": "registry"}],
}


def requirements_of(
    annotations: dict[str, str], policy: OperatorPolicy = NO_POLICY, pod_spec: dict[str, Any] | None = USES
) -> Requirements:
    """Return the requirements of a workload in the namespace `prod`."""
    return required(workload(manifest(annotations=annotations, pod_spec=pod_spec)), policy, "prod")


def listing(sources: dict[Source, str | None]) -> OperatorPolicy:
    """Return an operator's list for the namespace `prod`."""
    return OperatorPolicy(enabled=True, namespaces=frozenset({"prod"}), sources=sources)


def wrong_words(text: str) -> list[str]:
    """Return the words of a list of Secrets that are not understood."""
    return [problem.word for problem in parse_list(text, SourceKind.SECRET).problems]


@given(names=st.lists(NAMES, max_size=5), blanks=st.lists(st.sampled_from(["", " ", "\n", "\t "]), min_size=5))
def test_every_list_of_names_is_read(names: list[str], blanks: list[str]) -> None:
    """Blanks around words and empty words are ignored."""
    text = ",".join(f"{blank}{name} " for name, blank in zip(names, blanks, strict=False)) + ","
    parsed = parse_list(text, SourceKind.SECRET)
    assert parsed.sources == {secret(name): None for name in names}
    assert parsed.problems == ()
    assert not parsed.everything


@given(text=st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    """In any annotation, each word is understood or reported."""
    parsed = parse_list(text, SourceKind.CONFIG_MAP)
    words = [word for word in map(str.strip, text.split(",")) if word]
    assert bool(words) == bool(parsed.sources or parsed.problems or parsed.everything)
    assert all(problem.word in words for problem in parsed.problems)


def test_a_checksum_can_be_provided() -> None:
    """It is used unchanged, and nothing is read."""
    requirements = requirements_of({SECRETS: f"a={A}, b"})
    assert requirements.items == (Requirement(secret("a"), A), Requirement(secret("b")))
    assert requirements.to_read == (secret("b"),)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("db, Db", ["Db"]),
        ("db pw", ["db pw"]),
        ("../x", ["../x"]),
        ("*, *=" + A, ["*=" + A]),
        ("=" + A, ["=" + A]),
        ("db=", ["db="]),
        ("db=abc", ["db=abc"]),
        ("db=" + "A" * 64, ["db=" + "A" * 64]),
        ("db=" + A + "\u0664", ["db=" + A + "\u0664"]),
        ("db, db", []),
        (f"db={A}, db={A}", []),
        (f"db={A}, db={B}", [f"db={B}"]),
        (f"db, db={A}", [f"db={A}"]),
    ],
)
def test_words_that_are_not_understood_are_named(text: str, wrong: list[str]) -> None:
    """Exactly the wrong words are problems; of two that contradict each other, the second one."""
    assert wrong_words(text) == wrong


def test_a_problem_names_the_field_and_the_reason() -> None:
    """A long word is cut."""
    (problem,) = requirements_of({SECRETS: "db=x"}).problems
    assert str(problem) == (f'{SECRETS}: "db=x" has to give a checksum of 64 lower case hex digits after the =')
    assert problem.field == f"metadata.annotations[{SECRETS}]"
    (problem,) = requirements_of({CONFIG_MAPS: "X" * 100}).problems
    assert str(problem).startswith(f'{CONFIG_MAPS}: "{"X" * 60}…" is not a name that a ConfigMap can have')


def test_other_words_are_still_used() -> None:
    """One typing error does not disable the whole list."""
    requirements = requirements_of({SECRETS: "db, Oops"})
    assert requirements.items == (Requirement(secret("db")),)
    assert [problem.word for problem in requirements.problems] == ["Oops"]


def test_everything_means_all_references_of_that_kind() -> None:
    """`*` means the references; pull secrets are not among them but can be named."""
    assert requirements_of({SECRETS: "*"}).items == (Requirement(secret("db")),)
    assert requirements_of({CONFIG_MAPS: "*"}).items == (Requirement(config_map("app"), optional=True),)
    assert requirements_of({SECRETS: "*, registry"}).items == (
        Requirement(secret("db")),
        Requirement(secret("registry")),
    )
    assert requirements_of({SECRETS: f"*, db={A}"}).items == (Requirement(secret("db"), A),)


def test_named_and_not_referenced_is_not_optional() -> None:
    """A named object is required; only references can be optional."""
    assert requirements_of({SECRETS: "other", CONFIG_MAPS: "app"}).items == (
        Requirement(config_map("app"), optional=True),
        Requirement(secret("other")),
    )


def test_a_reference_with_an_invalid_name_is_a_problem() -> None:
    """Such an object cannot exist, and its name can be part of neither a path nor a key."""
    pod = {"containers": [{"envFrom": [{"secretRef": {"name": "../nodes"}}]}]}
    requirements = requirements_of({SECRETS: "*"}, pod_spec=pod)
    assert requirements.items == ()
    (problem,) = requirements.problems
    assert str(problem).startswith('The pod template: "../nodes" is not a name that a Secret can have')
    assert problem.field == "spec.template.spec"


def test_opted_out() -> None:
    """`false` overrides the workload's own lists and the operator's."""
    assert requirements_of({SECRETS: "db", ENABLED: "false"}, listing({secret("db"): None})) == Requirements()


def test_enabled_is_true_or_false() -> None:
    """Any other word is a problem and does not opt out."""
    assert requirements_of({SECRETS: "db", ENABLED: "true"}) == requirements_of({SECRETS: "db"})
    requirements = requirements_of({SECRETS: "db", ENABLED: "no"})
    assert requirements.to_read == (secret("db"),)
    assert [str(problem) for problem in requirements.problems] == [f'{ENABLED}: "no" has to be "true" or "false"']


def test_the_operators_list_applies_to_references() -> None:
    """No edit of the manifest is needed, and workloads that do not reference the object are not changed."""
    policy = listing({secret("db"): None, config_map("app"): B, secret("unused"): None})
    assert requirements_of({}, policy).items == (
        Requirement(config_map("app"), B, optional=True),
        Requirement(secret("db")),
    )
    assert requirements_of({}, policy, pod_spec={}).items == ()


@pytest.mark.parametrize(
    "policy",
    [
        OperatorPolicy(enabled=False, namespaces=frozenset({"prod"}), sources={secret("db"): None}),
        OperatorPolicy(enabled=True, namespaces=frozenset({"other"}), sources={secret("db"): None}),
    ],
)
def test_the_operators_list_applies_only_to_its_namespaces(policy: OperatorPolicy) -> None:
    """A disabled list, or one for other namespaces, adds nothing."""
    assert requirements_of({}, policy) == Requirements()


def test_precedence_of_provided_checksums() -> None:
    """The workload's first, then the operator's, then a read."""
    policy = listing({secret("db"): B})
    assert requirements_of({SECRETS: f"db={A}"}, policy).items == (Requirement(secret("db"), A),)
    assert requirements_of({SECRETS: "db"}, policy).items == (Requirement(secret("db"), B),)
    assert requirements_of({SECRETS: f"db={A}"}, listing({secret("db"): None})).items == (Requirement(secret("db"), A),)


def test_the_operator_can_provide_checksums_of_named_objects() -> None:
    """Even if the template does not reference the object."""
    assert requirements_of({SECRETS: "registry"}, listing({secret("registry"): B})).items == (
        Requirement(secret("registry"), B),
    )


def test_a_workload_depends_on_a_hundred_objects_at_most() -> None:
    """The first hundred are used, and the next one is reported."""
    names = [f"s{number:03}" for number in range(MOST_SOURCES + 20)]
    found = requirements_of({SECRETS: ",".join(names)})
    assert [requirement.source.name for requirement in found.items] == names[:MOST_SOURCES]
    assert [problem.word for problem in found.problems] == [names[MOST_SOURCES]]
    assert "120" in str(found.problems[0])
    assert requirements_of({SECRETS: ",".join(names[:MOST_SOURCES])}).problems == ()


def test_a_very_long_list_is_not_read_to_its_end() -> None:
    """A quarter of a megabyte of words costs no more than two hundred words."""
    parsed = parse_list(",".join(["a", *(f"A{number}" for number in range(50_000))]), SourceKind.SECRET)
    assert set(parsed.sources) == {Source(SourceKind.SECRET, "a")}
    assert len(parsed.problems) == 2 * MOST_SOURCES
    assert "comes after 200 words" in str(parsed.problems[0])
