"""The documentation is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.controlplane import ControlPlane
from webhook.checksums.core.keys import CONFIG_MAPS, ENABLED, HELD, MANAGED, PROGRESS, RESUMED, ROLLED, SECRETS

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "checksums.md").read_text(encoding="utf-8")

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  annotations:
    {{- include "rolloutChecksums.annotations" . | nindent 4 }}
"""


def test_every_annotation_is_described() -> None:
    """By its name after the prefix."""
    for name in (SECRETS, CONFIG_MAPS, ENABLED, MANAGED, HELD, ROLLED, PROGRESS, RESUMED):
        prefix, short = name.split("/")
        assert f"`{short}`" in PAGE or f"`{prefix}/{short}`" in PAGE


def test_linked_pages_exist() -> None:
    """In the page and in the decision records."""
    for page in (DOCS / "checksums.md", *(DOCS / "decisions").glob("checksums-*.md")):
        for link in re.findall(r"\]\((\w[^)#]*)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).is_file(), link


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"rolloutChecksums": {"enabled": False, "secrets": ["db"]}}, None),
        ({"rolloutChecksums": {"enabled": True, "secrets": ["db", "tls"]}}, {SECRETS: "db, tls"}),
        (
            {
                "rolloutChecksums": {
                    "enabled": True,
                    "secrets": ["a"],
                    "configMaps": [{"name": "b", "checksum": "c" * 64}],
                }
            },
            {SECRETS: "a", CONFIG_MAPS: "b=" + "c" * 64},
        ),
        ({"rolloutChecksums": {"enabled": True, "configMaps": ["b", {"name": "c"}]}}, {CONFIG_MAPS: "b, c"}),
        ({"rolloutChecksums": {"enabled": True}}, None),
    ],
)
def test_the_helm_snippet_works(
    plane: ControlPlane, tmp_path: Path, values: dict[str, Any], expected: dict[str, str] | None
) -> None:
    """By the real helm, with every form of values."""
    snippet = re.search(r"<!-- helm-snippet -->\n```\n(.*?)```", PAGE, re.DOTALL)
    assert snippet is not None
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 0.1.0\n")
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "templates" / "_rollout-checksums.tpl").write_text(snippet[1])
    (tmp_path / "templates" / "deployment.yaml").write_text(DEPLOYMENT)
    rendered = yaml.safe_load(plane.helm("template", "shop", tmp_path).stdout)
    assert rendered["metadata"]["annotations"] == expected
