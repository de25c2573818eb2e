"""The documents are correct: their commands, links and names exist."""

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


def test_the_readme_shows_the_commands_of_make_demo() -> None:
    """`make demo` runs exactly the commands of the README's section "Try it", in the same order."""
    shown = re.findall(r"^kubectl .*$", README.partition("## Try it")[2].partition("## Use it")[0], re.MULTILINE)
    assert shown == [step.command for step in steps.STEPS]


def test_the_readme_names_the_test_command() -> None:
    """The README marks `make test` as the command that runs all tests; the CI script reads it from there."""
    block = README.partition("<!-- test-command -->")[2].partition("```sh\n")[2].partition("```")[0]
    assert block.strip() == "make test"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_exist(document: Path) -> None:
    """Each relative link of a document is a file or folder of the repository."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("file", generate.FILES, ids=lambda file: file.path.name)
def test_generated_files_are_up_to_date(file: generate.Generated) -> None:
    """Each generated file equals what the code generates; `make generate` repairs a difference."""
    assert file.path.read_text(encoding="utf-8") == file.make()


def test_an_outdated_file_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The check fails if a file differs from its generated contents, and prints the difference."""
    path = generate.ROOT / "deploy" / "manifests" / "webhooks.yaml"
    changed = tmp_path / "webhooks.yaml"
    changed.write_text(path.read_text().replace("timeoutSeconds: 5", "timeoutSeconds: 7"))
    file = generate.Generated(changed, generate.webhooks_manifest)
    assert generate.main(["--check"], files=(file,), root=tmp_path) == 1
    printed = capsys.readouterr().out
    assert "-  timeoutSeconds: 7" in printed
    assert "+  timeoutSeconds: 5" in printed


def test_no_file_has_a_path_of_a_machine() -> None:
    """No tracked file contains an absolute path of a home folder."""
    listed = subprocess.run(
        ["git", "grep", "-nE", r"(^|[^A-Za-z0-9_.])/(home|root|Users)/[a-z]"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.stdout == ""


def result(stdout: str = "", stderr: str = "", code: int = 0) -> Result:
    """Return the result of a command."""
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
def test_the_checks_of_the_demo_find_problems(check: object, given: Result, problem: str) -> None:
    """The check of each step of `make demo` accepts the described result and rejects any other."""
    assert callable(check)
    found = check(given)
    assert (problem in found) if problem else found == ""
