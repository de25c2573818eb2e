"""Programs are built once from pinned sources, and each failure has a clear message."""

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
from tests.controlplane.build import STAGES, BuildConfig, build, default_cache, ensure
from tests.controlplane.programs import MODULES, Source, catalogue, fingerprint, needed_go, pinned_version
from tests.controlplane.progress import Progress
from tests.controlplane.toolchain import GO_WHEEL, find_go, platform_name

REPOSITORY = Path(__file__).parents[2]

HELLO = "package main\n\nfunc main() { println(greeting) }\n\nconst greeting = `hello`\n"


def config_of(folder: Path, code: str = HELLO, *names: str) -> BuildConfig:
    """Return a configuration with tiny programs, all of the same code."""
    module = folder / "module"
    module.mkdir(exist_ok=True)
    (module / "go.mod").write_text("module example.test/hello\n\ngo 1.26\n")
    (module / "go.sum").touch()
    (module / "main.go").write_text(code)
    sources = tuple(Source(name, module, "example.test/hello") for name in names or ("hello",))
    return BuildConfig(cache=folder / "cache", sources=sources, needed_bytes=0)


def test_missing_programs_are_built_with_progress(tmp_path: Path) -> None:
    """Each program is shown with its number, can be run, and is not built a second time."""
    config = config_of(tmp_path, HELLO, "one", "two")
    output = io.StringIO()
    build(config, Progress(output))
    assert re.search(
        r"\[1/2] one …\n\[1/2] one: built, \d+ s\n\[2/2] two …\n\[2/2] two: built, \d+ s\n", output.getvalue()
    )
    done = subprocess.run([config.path("one")], capture_output=True, text=True, check=True)
    assert done.stderr == "hello\n"
    again = io.StringIO()
    build(config, Progress(again))
    assert not again.getvalue()


def test_given_programs_are_used_and_only_others_are_built(tmp_path: Path) -> None:
    """If a given folder has some of the programs, only the others are built."""
    config = config_of(tmp_path, HELLO, "one", "two")
    given = tmp_path / "given"
    given.mkdir()
    (given / "one").touch(mode=0o755)
    config = dataclasses.replace(config, given=given)
    output = io.StringIO()
    build(config, Progress(output))
    assert config.path("one") == given / "one"
    assert config.path("two").parent == config.folder
    assert f"[1/2] one: found in {given}" in output.getvalue()
    assert not (config.folder / "one").exists()


def test_the_given_folder_defaults_to_kubebuilder_assets(tmp_path: Path) -> None:
    """KUBEBUILDER_ASSETS is used if no other folder is given."""
    environment = {"KUBEBUILDER_ASSETS": str(tmp_path)}
    assert BuildConfig.of_environment(environment=environment).given == tmp_path
    assert BuildConfig.of_environment(tmp_path / "other", environment).given == tmp_path / "other"
    assert BuildConfig.of_environment(environment={}).given is None


def test_a_folder_with_all_programs_needs_no_build(tmp_path: Path) -> None:
    """If the given folder has all programs, neither Go nor the cache is used."""
    for name in (*(source.name for source in catalogue()), STAGES):
        (tmp_path / name).touch()
    programs = ensure(BuildConfig(given=tmp_path, cache=tmp_path / "cache"))
    assert programs.kube_apiserver == tmp_path / "kube-apiserver"
    assert programs.kwok_stages == tmp_path / STAGES
    assert not (tmp_path / "cache").exists()


def test_concurrent_builds_do_the_work_once(tmp_path: Path) -> None:
    """Of two processes that wait for the lock, one builds, and the other finds all programs."""
    config = config_of(tmp_path, HELLO, "one", "two")
    config.folder.mkdir(parents=True)
    code = (
        "import pathlib\nfrom tests.controlplane.test_build import *\n"
        f"build(config_of(pathlib.Path({str(tmp_path)!r}), HELLO, 'one', 'two'), Progress())"
    )
    builders = [
        ManagedProcess("builder", [sys.executable, "-c", code], log=tmp_path / f"builder-{n}.log", cwd=REPOSITORY)
        for n in range(2)
    ]
    with (config.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for builder in builders:
            builder.spawn()
        wait_for(
            lambda: all("waiting for another build" in builder.log.read_text() for builder in builders),
            what="both to wait",
        )
        assert len(config.missing()) == 2
    assert [builder.wait() for builder in builders] == [0, 0]
    logged = "".join(builder.log.read_text() for builder in builders)
    assert logged.count("] one: built") == logged.count("] two: built") == 1
    assert not config.missing()


def test_a_build_after_a_killed_one_succeeds(tmp_path: Path) -> None:
    """An incomplete program never has its final name, and does not disturb the next build."""
    config = config_of(tmp_path)
    config.folder.mkdir(parents=True)
    (config.folder / ".hello.unfinished").write_text("incomplete")
    assert config.missing()
    build(config, Progress(io.StringIO()))
    subprocess.run([config.path("hello")], check=True, capture_output=True)
    assert not (config.folder / ".hello.unfinished").exists()


def test_an_error_of_the_compiler_is_shown_with_its_log(tmp_path: Path) -> None:
    """The message has the path and the end of the log, and no program appears."""
    config = config_of(tmp_path, "package main\n\nfunc main() { nonsense() }\n")
    with pytest.raises(BuildError, match=r"hello could not be built: (?s:.)*hello\.log(?s:.)*undefined: nonsense"):
        build(config, Progress(io.StringIO()))
    assert config.missing()
    assert "nonsense" in (config.folder / "hello.log").read_text()


def test_a_missing_network_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If modules cannot be downloaded, the message is about the network and not about Go."""
    config = config_of(tmp_path, 'package main\n\nimport _ "example.test/far"\n\nfunc main() {}\n')
    module = config.sources[0].module
    (module / "go.mod").write_text("module example.test/hello\n\ngo 1.26\n\nrequire example.test/far v1.0.0\n")
    line = "example.test/far v1.0.0{} h1:0123456789012345678901234567890123456789012=\n"
    (module / "go.sum").write_text(line.format("") + line.format("/go.mod"))
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:9")
    with pytest.raises(BuildError, match="hello could not be built: no network: modules have to be downloaded once"):
        build(config, Progress(io.StringIO()))


def test_missing_disk_space_is_reported_before_the_build(tmp_path: Path) -> None:
    """The message has the free and the needed space."""
    config = dataclasses.replace(config_of(tmp_path), needed_bytes=1 << 60)
    with pytest.raises(BuildError, match=r"GB of free space, and a build needs up to 1152921504\.6 GB"):
        build(config, Progress(io.StringIO()))


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    """If a program cannot be written, the message is about the disk and not about Go."""
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text('#!/bin/sh\n[ "$1" = env ] && echo go1.26.1 || cat /etc/hostname > /dev/full\n')
    go.chmod(0o755)
    code = (
        "import pathlib\nfrom tests.controlplane.test_build import *\n"
        f"build(config_of(pathlib.Path({str(tmp_path)!r})), Progress())"
    )
    environment = {**os.environ, "PATH": f"{go.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert "hello could not be built: the disk is full" in done.stderr


def test_a_cache_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    """If the cache is a file, the message names it, without a traceback."""
    (tmp_path / "cache").touch()
    with pytest.raises(BuildError, match=r"the cache .* cannot be made: .*set XDG_CACHE_HOME"):
        build(config_of(tmp_path), Progress(io.StringIO()))


def test_an_old_go_is_replaced_by_the_wheel(tmp_path: Path) -> None:
    """Go on PATH is used only if it is new enough."""
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


def test_a_go_that_cannot_be_installed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Go and without a package index, the message says how to get Go, and no partial installation stays."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(BuildError, match=r"Install Go from https://go\.dev/dl(?s:.)*No matching distribution"):
        find_go((1, 26), tmp_path, search_path="/nowhere")
    assert not list(tmp_path.iterdir())


def test_the_key_of_the_cache_depends_on_pins_flags_and_platform(tmp_path: Path) -> None:
    """Pins, flags, names and the platform change the key, and the location of the sources does not."""
    modules = tmp_path / "modules"
    shutil.copytree(MODULES, modules)
    key = fingerprint(catalogue(modules), "linux/amd64")
    assert key == fingerprint(catalogue(), "linux/amd64")
    assert key != fingerprint(catalogue(), "linux/arm64")
    assert key != fingerprint(catalogue()[:-1], "linux/amd64")
    flagged = [dataclasses.replace(source, ldflags="-s") for source in catalogue()]
    assert key != fingerprint(flagged, "linux/amd64")
    with (modules / "helm" / "go.sum").open("a") as file:
        file.write("\n")
    assert key != fingerprint(catalogue(modules), "linux/amd64")


def test_the_pins_are_read(tmp_path: Path) -> None:
    """Versions are read from the committed files, and a missing file is named."""
    assert pinned_version(MODULES / "kubernetes", "k8s.io/kubernetes") == "v1.35.4"
    assert needed_go(catalogue()) >= (1, 26)
    with pytest.raises(BuildError, match="does not require example"):
        pinned_version(MODULES / "kwok", "example.test/none")
    with pytest.raises(BuildError, match="is missing; it belongs to the repository"):
        catalogue(tmp_path)


def test_the_cache_is_in_the_users_cache_folder() -> None:
    """The cache is in XDG_CACHE_HOME, or else in the user's `.cache`."""
    assert default_cache({"XDG_CACHE_HOME": "/x", "HOME": "/h"}) == Path("/x/rollonce/controlplane")
    assert default_cache({"HOME": "/h"}) == Path("/h/.cache/rollonce/controlplane")
    assert platform_name().count("/") == 1


def test_the_command_paths_lists_the_programs(tmp_path: Path) -> None:
    """`paths` lists all eight files; before a build it says how to build them, without a traceback."""
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
    """A stream that reports to be a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_a_terminal_has_one_rewritten_line() -> None:
    """On a terminal each state replaces the line before it."""
    output = Terminal()
    progress = Progress(output)
    progress.enter("[1/7] etcd")
    progress.done("built")
    assert output.getvalue() == "\r\x1b[K[1/7] etcd …\r\x1b[K[1/7] etcd: built, 0 s\n"
