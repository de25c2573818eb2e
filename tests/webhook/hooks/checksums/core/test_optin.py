"""Who wants which checksums."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.hooks.checksums.core.test_keys import NAMES
from tests.webhook.hooks.checksums.manifests import A, B, config_map, manifest, secret, workload
from webhook.hooks.checksums.core.keys import CONFIG_MAPS, ENABLED, SECRETS, Source, SourceKind
from webhook.hooks.checksums.core.optin import (
    MOST_SOURCES,
    OperatorPolicy,
    Requirement,
    Requirements,
    parse_list,
    required,
)

NOBODY = OperatorPolicy()
USES = {
    "containers": [{"envFrom": [{"secretRef": {"name": "db"}}, {"configMapRef": {"name": "app", "optional": True}}]}],
    "imagePullSecrets": [{"name": "registry"}],
}


def wants(
    annotations: dict[str, str], policy: OperatorPolicy = NOBODY, pod_spec: dict[str, Any] | None = USES
) -> Requirements:
    """What a workload of namespace `prod` wants."""
    return required(workload(manifest(annotations=annotations, pod_spec=pod_spec)), policy, "prod")


def listing(sources: dict[Source, str | None]) -> OperatorPolicy:
    """An operator's list for namespace `prod`."""
    return OperatorPolicy(enabled=True, namespaces=frozenset({"prod"}), sources=sources)


def words_of(text: str) -> list[str]:
    """The words that a list of Secrets has problems with."""
    return [problem.word for problem in parse_list(text, SourceKind.SECRET).problems]


@given(names=st.lists(NAMES, max_size=5), blanks=st.lists(st.sampled_from(["", " ", "\n", "\t "]), min_size=5))
def test_every_list_of_names_is_read(names: list[str], blanks: list[str]) -> None:
    """Blanks around the words, and empty words, do not count."""
    text = ",".join(f"{blank}{name} " for name, blank in zip(names, blanks, strict=False)) + ","
    parsed = parse_list(text, SourceKind.SECRET)
    assert parsed.sources == {secret(name): None for name in names}
    assert parsed.problems == ()
    assert not parsed.everything


@given(text=st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever stands in the annotation, each word is understood or told of."""
    parsed = parse_list(text, SourceKind.CONFIG_MAP)
    words = [word for word in map(str.strip, text.split(",")) if word]
    assert bool(words) == bool(parsed.sources or parsed.problems or parsed.everything)
    assert all(problem.word in words for problem in parsed.problems)


def test_a_checksum_can_be_provided() -> None:
    """It is taken as it is, and nothing is read."""
    requirements = wants({SECRETS: f"a={A}, b"})
    assert requirements.wanted == (Requirement(secret("a"), A), Requirement(secret("b")))
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
def test_words_that_cannot_be_followed_are_named(text: str, wrong: list[str]) -> None:
    """Exactly the wrong words are problems; of two that contradict each other it is the second."""
    assert words_of(text) == wrong


def test_a_problem_says_where_and_why() -> None:
    """The author finds the place and the reason; a long word is cut."""
    (problem,) = wants({SECRETS: "db=x"}).problems
    assert str(problem) == (f'{SECRETS}: "db=x" has to give a checksum of 64 lower case hex digits after the =')
    assert problem.field == f"metadata.annotations[{SECRETS}]"
    (problem,) = wants({CONFIG_MAPS: "X" * 100}).problems
    assert str(problem).startswith(f'{CONFIG_MAPS}: "{"X" * 60}…" is not a name that a ConfigMap can have')


def test_right_words_count_next_to_wrong_ones() -> None:
    """One typing error does not turn everything off."""
    requirements = wants({SECRETS: "db, Oops"})
    assert requirements.wanted == (Requirement(secret("db")),)
    assert [problem.word for problem in requirements.problems] == ["Oops"]


def test_everything_means_what_is_referenced_of_that_kind() -> None:
    """`*` finds the references; pull secrets are not among them but can be named."""
    assert wants({SECRETS: "*"}).wanted == (Requirement(secret("db")),)
    assert wants({CONFIG_MAPS: "*"}).wanted == (Requirement(config_map("app"), optional=True),)
    assert wants({SECRETS: "*, registry"}).wanted == (Requirement(secret("db")), Requirement(secret("registry")))
    assert wants({SECRETS: f"*, db={A}"}).wanted == (Requirement(secret("db"), A),)


def test_named_and_not_referenced_is_not_optional() -> None:
    """Who names an object wants it; only references can be optional."""
    assert wants({SECRETS: "other", CONFIG_MAPS: "app"}).wanted == (
        Requirement(config_map("app"), optional=True),
        Requirement(secret("other")),
    )


def test_a_reference_that_is_no_legal_name_is_a_problem() -> None:
    """Such an object cannot exist, and its name can be neither a path nor a key."""
    pod = {"containers": [{"envFrom": [{"secretRef": {"name": "../nodes"}}]}]}
    requirements = wants({SECRETS: "*"}, pod_spec=pod)
    assert requirements.wanted == ()
    (problem,) = requirements.problems
    assert str(problem).startswith('The pod template: "../nodes" is not a name that a Secret can have')
    assert problem.field == "spec.template.spec"


def test_opted_out() -> None:
    """`false` holds against the workload's own lists and the operator's."""
    assert wants({SECRETS: "db", ENABLED: "false"}, listing({secret("db"): None})) == Requirements()


def test_enabled_is_true_or_false() -> None:
    """Any other word is a problem and opts nobody out."""
    assert wants({SECRETS: "db", ENABLED: "true"}) == wants({SECRETS: "db"})
    requirements = wants({SECRETS: "db", ENABLED: "no"})
    assert requirements.to_read == (secret("db"),)
    assert [str(problem) for problem in requirements.problems] == [f'{ENABLED}: "no" has to be "true" or "false"']


def test_the_operators_list_counts_for_who_references_it() -> None:
    """No edit of the manifest is needed, and who does not use the object is left alone."""
    policy = listing({secret("db"): None, config_map("app"): B, secret("unused"): None})
    assert wants({}, policy).wanted == (Requirement(config_map("app"), B, optional=True), Requirement(secret("db")))
    assert wants({}, policy, pod_spec={}).wanted == ()


@pytest.mark.parametrize(
    "policy",
    [
        OperatorPolicy(enabled=False, namespaces=frozenset({"prod"}), sources={secret("db"): None}),
        OperatorPolicy(enabled=True, namespaces=frozenset({"other"}), sources={secret("db"): None}),
    ],
)
def test_the_operators_list_counts_only_where_it_is_meant_to(policy: OperatorPolicy) -> None:
    """Switched off, or of other namespaces, it adds nothing."""
    assert wants({}, policy) == Requirements()


def test_a_provided_checksum_of_the_workload_goes_first() -> None:
    """Then the operator's, then a read."""
    policy = listing({secret("db"): B})
    assert wants({SECRETS: f"db={A}"}, policy).wanted == (Requirement(secret("db"), A),)
    assert wants({SECRETS: "db"}, policy).wanted == (Requirement(secret("db"), B),)
    assert wants({SECRETS: f"db={A}"}, listing({secret("db"): None})).wanted == (Requirement(secret("db"), A),)


def test_a_provided_checksum_counts_for_who_names_the_object_too() -> None:
    """A name that the template does not reference is still the operator's to provide."""
    assert wants({SECRETS: "registry"}, listing({secret("registry"): B})).wanted == (
        Requirement(secret("registry"), B),
    )


def test_a_workload_depends_on_a_hundred_objects_at_most() -> None:
    """Whoever names more gets the first hundred, and is told of the first that is one too many."""
    names = [f"s{number:03}" for number in range(MOST_SOURCES + 20)]
    found = wants({SECRETS: ",".join(names)})
    assert [requirement.source.name for requirement in found.wanted] == names[:MOST_SOURCES]
    assert [problem.word for problem in found.problems] == [names[MOST_SOURCES]]
    assert "120" in str(found.problems[0])
    assert wants({SECRETS: ",".join(names[:MOST_SOURCES])}).problems == ()


def test_a_list_without_end_is_not_read_to_its_end() -> None:
    """A quarter of a megabyte of words costs no more than two hundred of them."""
    parsed = parse_list(",".join(["a", *(f"A{number}" for number in range(50_000))]), SourceKind.SECRET)
    assert set(parsed.sources) == {Source(SourceKind.SECRET, "a")}
    assert len(parsed.problems) == 2 * MOST_SOURCES
    assert "comes after 200 words" in str(parsed.problems[0])
