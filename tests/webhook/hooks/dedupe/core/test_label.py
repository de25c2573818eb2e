"""The label rule."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.hooks.dedupe.core.label import label_value


@pytest.mark.parametrize(
    ("delivery_id", "label"),
    [
        ("a/b", "a-b-c14cddc033f6"),
        (" a/b", "a-b-1e91c30f821d"),
        ("日本", "delivery-cf2abf0c5be3"),
        ("abc", "abc"),
        ("  abc ", "abc"),
        ("A.b_c-9", "A.b_c-9"),
        ("x" * 63, "x" * 63),
    ],
)
def test_vectors(delivery_id: str, label: str) -> None:
    """Known ids get the labels that others compute for them, too."""
    assert label_value(delivery_id) == label


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_every_value_is_a_legal_label(delivery_id: str) -> None:
    """Whatever the id, the API server accepts the label."""
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", label_value(delivery_id))


@pytest.mark.parametrize("delivery_id", ["-abc", "abc-", "x" * 64, "a b", "..."])
def test_what_is_not_legal_keeps_apart_by_its_hash(delivery_id: str) -> None:
    """An id that cannot be used as it is gets a hash, so that no other id's label is taken."""
    assert re.search(r"-[0-9a-f]{12}$", label_value(delivery_id))


def test_a_long_stem_is_cut_before_its_end_is_stripped() -> None:
    """A stem that the cut leaves with a dash at its end loses the dash."""
    assert label_value("a" * 49 + "/" + "b" * 20).startswith("a" * 49 + "-")
    assert len(label_value("a" * 49 + "/" + "b" * 20)) == 49 + 1 + 12
