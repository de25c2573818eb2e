"""Programs are built once, from what is pinned, and what goes wrong is said clearly."""

from __future__ import annotations

import dataclasses
import fcntl
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.controlplane import BuildError, ManagedProcess, wait_for
from tests.controlplane.build import STAGES, Workshop, build, default_cache, ensure
from tests.controlplane.programs import MODULES, Source, catalogue, fingerprint, needed_go, pinned_version
from tests.controlplane.progress import Progress
from tests.controlplane.toolchain import GO_WHEEL, find_go, platform_name

REPOSITORY = Path(__file__).parents[2]

HELLO = "package main\n\nfunc main() { println(greeting) }\n\nconst greeting = `hello`\n"


def workshop(folder: Path, code: str = HELLO, *names: str) -> Workshop:
    """A workshop with tiny programs, all of the same code."""
    module = folder / "module"
    module.mkdir(exist_ok=True)
    (module / "go.mod").write_text("module example.test/hello\n\ngo 1.26\n")
    (module / "go.sum").touch()
    (module / "main.go").write_text(code)
    sources = tuple(Source(name, module, "example.test/hello") for name in names or ("hello",))
    return Workshop(cache=folder / "cache", sources=sources, needed_bytes=0)


def test_what_is_missing_is_built_and_progress_is_shown(tmp_path: Path) -> None:
    """Each program is announced with its number, runs, and is not built a second time."""
    shop = workshop(tmp_path, HELLO, "one", "two")
    seen = io.StringIO()
    build(shop, Progress(seen))
    assert re.search(
        r"\[1/2] one …\n\[1/2] one: built, \d+ s\n\[2/2] two …\n\[2/2] two: built, \d+ s\n", seen.getvalue()
    )
    done = subprocess.run([shop.path("one")], capture_output=True, text=True, check=True)
    assert done.stderr == "hello\n"
    again = io.StringIO()
    build(shop, Progress(again))
    assert not again.getvalue()


def test_given_programs_are_taken_and_only_the_rest_is_built(tmp_path: Path) -> None:
    """A folder may have some of the programs."""
    shop = workshop(tmp_path, HELLO, "one", "two")
    given = tmp_path / "given"
    given.mkdir()
    (given / "one").touch(mode=0o755)
    shop = dataclasses.replace(shop, given=given)
    seen = io.StringIO()
    build(shop, Progress(seen))
    assert shop.path("one") == given / "one"
    assert shop.path("two").parent == shop.folder
    assert f"[1/2] one: found in {given}" in seen.getvalue()
    assert not (shop.folder / "one").exists()


def test_the_folder_comes_from_kubebuilder_assets(tmp_path: Path) -> None:
    """The convention of controller-runtime counts, and a folder that is named counts more."""
    environment = {"KUBEBUILDER_ASSETS": str(tmp_path)}
    assert Workshop.of_environment(environment=environment).given == tmp_path
    assert Workshop.of_environment(tmp_path / "other", environment).given == tmp_path / "other"
    assert Workshop.of_environment(environment={}).given is None


def test_a_folder_with_everything_needs_no_build(tmp_path: Path) -> None:
    """Somebody who has all programs needs neither Go nor the cache."""
    for name in (*(source.name for source in catalogue()), STAGES):
        (tmp_path / name).touch()
    programs = ensure(Workshop(given=tmp_path, cache=tmp_path / "cache"))
    assert programs.kube_apiserver == tmp_path / "kube-apiserver"
    assert programs.kwok_stages == tmp_path / STAGES
    assert not (tmp_path / "cache").exists()


def test_two_builds_at_once_do_the_work_once(tmp_path: Path) -> None:
    """Of two that wait for a third, one builds, the other finds all done."""
    shop = workshop(tmp_path, HELLO, "one", "two")
    shop.folder.mkdir(parents=True)
    code = (
        "import pathlib\nfrom tests.controlplane.test_build import *\n"
        f"build(workshop(pathlib.Path({str(tmp_path)!r}), HELLO, 'one', 'two'), Progress())"
    )
    builders = [
        ManagedProcess("builder", [sys.executable, "-c", code], log=tmp_path / f"builder-{n}.log", cwd=REPOSITORY)
        for n in range(2)
    ]
    with (shop.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for builder in builders:
            builder.spawn()
        wait_for(
            lambda: all("waiting for another build" in builder.log.read_text() for builder in builders),
            what="both to wait",
        )
        assert len(shop.missing()) == 2
    assert [builder.wait() for builder in builders] == [0, 0]
    said = "".join(builder.log.read_text() for builder in builders)
    assert said.count("] one: built") == said.count("] two: built") == 1
    assert not shop.missing()


def test_a_build_that_was_killed_is_taken_up_by_the_next(tmp_path: Path) -> None:
    """Half a program never appears under its name, and does not disturb the next build."""
    shop = workshop(tmp_path)
    shop.folder.mkdir(parents=True)
    (shop.folder / ".hello.unfinished").write_text("half")
    assert shop.missing()
    build(shop, Progress(io.StringIO()))
    subprocess.run([shop.path("hello")], check=True, capture_output=True)
    assert not (shop.folder / ".hello.unfinished").exists()


def test_a_compilers_error_is_shown_with_its_log(tmp_path: Path) -> None:
    """The log's end and path are told, and no program appears."""
    shop = workshop(tmp_path, "package main\n\nfunc main() { nonsense() }\n")
    with pytest.raises(BuildError, match=r"hello could not be built: (?s:.)*hello\.log(?s:.)*undefined: nonsense"):
        build(shop, Progress(io.StringIO()))
    assert shop.missing()
    assert "nonsense" in (shop.folder / "hello.log").read_text()


def test_no_network_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where modules cannot be downloaded, the advice is about the network, not about Go."""
    shop = workshop(tmp_path, 'package main\n\nimport _ "example.test/far"\n\nfunc main() {}\n')
    module = shop.sources[0].module
    (module / "go.mod").write_text("module example.test/hello\n\ngo 1.26\n\nrequire example.test/far v1.0.0\n")
    line = "example.test/far v1.0.0{} h1:0123456789012345678901234567890123456789012=\n"
    (module / "go.sum").write_text(line.format("") + line.format("/go.mod"))
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:9")
    with pytest.raises(BuildError, match="hello could not be built: no network: modules have to be downloaded once"):
        build(shop, Progress(io.StringIO()))


def test_no_space_is_said_before_the_work_begins(tmp_path: Path) -> None:
    """The free and the needed space are told."""
    shop = dataclasses.replace(workshop(tmp_path), needed_bytes=1 << 60)
    with pytest.raises(BuildError, match=r"GB of free space, and a build needs up to 1152921504\.6 GB"):
        build(shop, Progress(io.StringIO()))


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """Where a program cannot be written, the advice is about the disk, not about Go."""
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text('#!/bin/sh\n[ "$1" = env ] && echo go1.26.1 || cat /etc/hostname > /dev/full\n')
    go.chmod(0o755)
    code = (
        "import pathlib\nfrom tests.controlplane.test_build import *\n"
        f"build(workshop(pathlib.Path({str(tmp_path)!r})), Progress())"
    )
    environment = {**os.environ, "PATH": f"{go.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert "hello could not be built: the disk is full" in done.stderr


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where the cache should be is not a traceback."""
    (tmp_path / "cache").touch()
    with pytest.raises(BuildError, match=r"the cache .* cannot be made: .*set XDG_CACHE_HOME"):
        build(workshop(tmp_path), Progress(io.StringIO()))


def test_an_old_go_is_passed_over_for_the_wheel(tmp_path: Path) -> None:
    """What is on PATH counts only if it is new enough."""
    real = shutil.which("go")
    old = tmp_path / "old" / "go"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho go1.20.3\n")
    old.chmod(0o755)
    installed = tmp_path / GO_WHEEL.replace("==", "-") / "go" / "bin" / "go"
    installed.parent.mkdir(parents=True)
    installed.write_text("#!/bin/sh\necho go1.27.3\n")
    installed.chmod(0o755)
    found = find_go((1, 26, 0), tmp_path, search_path=str(old.parent))
    assert (found.executable, found.version) == (installed, (1, 27, 3))
    assert find_go((1, 20), tmp_path, search_path=str(old.parent)).executable == old
    with pytest.raises(BuildError, match=r"holds no Go 1\.99 or newer"):
        find_go((1, 99), tmp_path, search_path=str(real))


def test_a_go_that_cannot_be_installed_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Go, and without a package index, both ways out are named, and nothing half installed stays."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(BuildError, match=r"Install Go from https://go\.dev/dl(?s:.)*No matching distribution"):
        find_go((1, 26), tmp_path, search_path="/nowhere")
    assert not list(tmp_path.iterdir())


def test_the_key_of_the_cache_changes_with_what_counts(tmp_path: Path) -> None:
    """Pins, flags, names and the platform each make another folder; the place of the checkout does not."""
    modules = tmp_path / "modules"
    shutil.copytree(MODULES, modules)
    here = fingerprint(catalogue(modules), "linux/amd64")
    assert here == fingerprint(catalogue(), "linux/amd64")
    assert here != fingerprint(catalogue(), "linux/arm64")
    assert here != fingerprint(catalogue()[:-1], "linux/amd64")
    flagged = [dataclasses.replace(source, ldflags="-s") for source in catalogue()]
    assert here != fingerprint(flagged, "linux/amd64")
    with (modules / "helm" / "go.sum").open("a") as file:
        file.write("\n")
    assert here != fingerprint(catalogue(modules), "linux/amd64")


def test_the_pins_are_read(tmp_path: Path) -> None:
    """Versions come from the committed files alone, and a missing one is named."""
    assert pinned_version(MODULES / "kubernetes", "k8s.io/kubernetes") == "v1.35.4"
    assert needed_go(catalogue()) >= (1, 26)
    with pytest.raises(BuildError, match="does not require example"):
        pinned_version(MODULES / "kwok", "example.test/none")
    with pytest.raises(BuildError, match="is missing; it belongs to the repository"):
        catalogue(tmp_path)


def test_the_cache_is_the_users() -> None:
    """XDG_CACHE_HOME counts, or else the usual place."""
    assert default_cache({"XDG_CACHE_HOME": "/x", "HOME": "/h"}) == Path("/x/rollonce/controlplane")
    assert default_cache({"HOME": "/h"}) == Path("/h/.cache/rollonce/controlplane")
    assert platform_name().count("/") == 1


def test_the_command_says_where_programs_are_or_how_to_get_them(tmp_path: Path) -> None:
    """`paths` lists all eight files; before a build it says what to do, without a traceback."""
    command = [sys.executable, "-m", "tests.controlplane", "paths"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("KUBEBUILDER_ASSETS", None)
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: not built yet: etcd, ")
    assert "python -m tests.controlplane build" in done.stderr
    for name in (*(source.name for source in catalogue()), STAGES):
        (tmp_path / name).touch()
    done = subprocess.run(
        [*command, "--given", tmp_path], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 8


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_a_terminal_has_one_line_that_is_rewritten() -> None:
    """On a terminal each state replaces the one before, until it is done."""
    seen = Terminal()
    progress = Progress(seen)
    progress.enter("[1/7] etcd")
    progress.done("built")
    assert seen.getvalue() == "\r\x1b[K[1/7] etcd …\r\x1b[K[1/7] etcd: built, 0 s\n"
