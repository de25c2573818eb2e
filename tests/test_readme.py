"""What the documents say is true: commands, links, and the names of things."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests import generate
from tests.controlplane.commands import Result
from tests.dev import steps

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_the_readme_shows_the_commands_of_the_demonstration() -> None:
    """`make demo` runs exactly what the README tells people to type, in that order."""
    shown = re.findall(r"^kubectl .*$", README.partition("## Try it")[2].partition("## Use it")[0], re.MULTILINE)
    assert shown == [step.command for step in steps.STEPS]


def test_the_readme_names_its_test_command() -> None:
    """The CI script takes the command from here, so it has to be the one that runs everything."""
    block = README.partition("<!-- test-command -->")[2].partition("```sh\n")[2].partition("```")[0]
    assert block.strip() == "make test"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Each relative link of a document is a file or folder of the repository."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("file", generate.FILES, ids=lambda file: file.path.name)
def test_generated_files_are_up_to_date(file: generate.Generated) -> None:
    """What the code makes is what the repository holds; `make generate` mends it."""
    assert file.path.read_text(encoding="utf-8") == file.make()


def test_an_outdated_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The check fails where a file differs, and shows the difference."""
    path = generate.ROOT / "deploy" / "manifests" / "webhooks.yaml"
    changed = tmp_path / "webhooks.yaml"
    changed.write_text(path.read_text().replace("timeoutSeconds: 5", "timeoutSeconds: 7"))
    file = generate.Generated(changed, generate.webhooks_manifest)
    assert generate.main(["--check"], files=(file,), root=tmp_path) == 1
    printed = capsys.readouterr().out
    assert "-  timeoutSeconds: 7" in printed
    assert "+  timeoutSeconds: 5" in printed


def test_nothing_names_this_machine() -> None:
    """No tracked file holds an absolute path of somebody's home or work folder."""
    listed = subprocess.run(
        ["git", "grep", "-nE", r"(^|[^A-Za-z0-9_.])/(home|root|Users)/[a-z]"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.stdout == ""


def result(stdout: str = "", stderr: str = "", code: int = 0) -> Result:
    """Make the result of a command."""
    return Result(("kubectl",), code, stdout, stderr)


HEX = "0" * 64


@pytest.mark.parametrize(
    ("check", "given", "problem"),
    [
        (steps.succeeds, result(), ""),
        (steps.succeeds, result(code=1), "exit code 1"),
        (
            steps.has_checksums,
            result(f'{{"checksum/secret.database":"{HEX}","checksum/configmap.settings":"{HEX}"}}'),
            "",
        ),
        (steps.has_checksums, result(f'{{"checksum/secret.database":"{HEX}"}}'), "configmap.settings"),
        (steps.has_checksums, result("{}"), "checksum/secret.database"),
        (steps.has_checksums, result(""), "checksum/secret.database"),
        (steps.has_checksums, result(code=1), "exit code 1"),
        (steps.is_refused, result(stderr="(AlreadyExists) … build-1 … idempotent", code=1), ""),
        (steps.is_refused, result(), "not refused"),
        (steps.is_refused, result(stderr="timeout", code=1), "AlreadyExists"),
        (steps.lists_one_run, result("build-1 jangar.proompteng.ai/delivery-id=x"), ""),
        (steps.lists_one_run, result("no resources"), "0 runs"),
        (steps.lists_one_run, result(code=1), "exit code 1"),
    ],
)  # fmt: skip
def test_the_demonstration_notices_what_is_wrong(check: object, given: Result, problem: str) -> None:
    """Each check of a step passes on what is described and fails on anything else."""
    assert callable(check)
    said = check(given)
    assert (problem in said) if problem else said == ""
