"""The programs of a control plane: found where they exist, or built once into a cache of this user.

Two builds that start at once do the work once: a lock on the cache's folder, and each program appears under its name
only when it is whole.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.controlplane.errors import BuildError, tail
from tests.controlplane.process import ManagedProcess
from tests.controlplane.programs import Programs, Source, catalogue, fingerprint, needed_go
from tests.controlplane.progress import Progress
from tests.controlplane.toolchain import Go, find_go, platform_name

STAGES = "kwok-stages.yaml"

_NEEDED_BYTES = 1 << 30
"""The programs are 0.5 GB. Go's own caches take 6 GB more where they are cold, but can be on another disk."""

_POLL_SECONDS = 0.1

_NO_NETWORK = "no network: modules have to be downloaded once; connect, or set GOPROXY to a mirror you can reach"

_SPEAKING_ERRORS = (
    ("no space left on device", "the disk is full: free some space, or point XDG_CACHE_HOME and GOCACHE elsewhere"),
    ("dial tcp", _NO_NETWORK),
    ("no such host", _NO_NETWORK),
    ("tls handshake timeout", _NO_NETWORK),
    ("module lookup disabled", "GOPROXY or GOFLAGS forbids downloads: modules have to be downloaded once"),
    ("checksum mismatch", "a downloaded module is not the pinned one: distrust the mirror that GOPROXY names"),
)


def default_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of this user under which programs are built."""
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "~")).expanduser() / ".cache"
    return Path(base) / "rollonce" / "controlplane"


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where programs come from.

    Attributes:
        given: A folder whose programs are taken as they are; what it lacks is built.
        cache: The folder under which the rest is built.
        sources: What there is to build.
        needed_bytes: Free space without which a build is not begun.
    """

    given: Path | None = None
    cache: Path = field(default_factory=default_cache)
    sources: tuple[Source, ...] = field(default_factory=catalogue)
    needed_bytes: int = _NEEDED_BYTES

    @classmethod
    def of_environment(cls, given: Path | None = None, environment: Mapping[str, str] = os.environ) -> Workshop:
        """Take programs from the given folder or else `KUBEBUILDER_ASSETS`, the convention of controller-runtime."""
        assets = environment.get("KUBEBUILDER_ASSETS")
        return cls(given or (Path(assets) if assets else None), default_cache(environment))

    @property
    def folder(self) -> Path:
        """Where the programs of exactly these pins, flags and platform are kept."""
        return self.cache / fingerprint(self.sources, platform_name())

    def path(self, name: str) -> Path:
        """Return where a program is, or will be once it is built."""
        if self.given is not None and (self.given / name).is_file():
            return self.given / name
        return self.folder / name

    def missing(self) -> list[Source]:
        """Return what has to be built."""
        return [source for source in self.sources if not self.path(source.name).is_file()]

    def programs(self) -> Programs:
        """Return where everything is.

        Raises:
            BuildError: Something is not built yet.
        """
        lacking = [
            name for name in (*(source.name for source in self.sources), STAGES) if not self.path(name).is_file()
        ]
        if lacking:
            raise BuildError(f"not built yet: {', '.join(lacking)}; run `python -m tests.controlplane build`")
        return Programs(
            **{source.name.replace("-", "_"): self.path(source.name) for source in self.sources},
            kwok_stages=self.path(STAGES),
        )


def ensure(workshop: Workshop | None = None, progress: Progress | None = None) -> Programs:
    """Return every program of a control plane, built first where needed (about 6 minutes on 2 cores, the first time).

    Raises:
        BuildError: One could not be built; the message says why, and where the log is.
    """
    workshop = workshop or Workshop.of_environment()
    progress = progress or Progress()
    build(workshop, progress)
    if not workshop.path(STAGES).is_file():
        with _locked(workshop.folder, progress):
            _write_stages(workshop, progress)
    return workshop.programs()


def build(workshop: Workshop, progress: Progress) -> None:
    """Build what is missing; where another process does so already, wait for it and build what it left.

    Raises:
        BuildError: As for `ensure`.
    """
    if workshop.missing():
        with _locked(workshop.folder, progress):
            _build_locked(workshop, progress)


def _build_locked(workshop: Workshop, progress: Progress) -> None:
    missing = workshop.missing()
    if not missing:
        return
    _check_space(workshop)
    progress.enter("looking for Go")
    go = find_go(needed_go(missing), workshop.cache)
    progress.done(f"Go {'.'.join(map(str, go.version))} at {go.executable}")
    for number, source in enumerate(workshop.sources, 1):
        progress.enter(f"[{number}/{len(workshop.sources)}] {source.name}")
        if source in missing:
            _compile(go, source, workshop.folder, progress)
        progress.done("built" if source in missing else f"found in {workshop.path(source.name).parent}")


def _compile(go: Go, source: Source, folder: Path, progress: Progress) -> None:
    unfinished = folder / f".{source.name}.unfinished"
    unfinished.unlink(missing_ok=True)  # Go does not overwrite half a program, which a killed build leaves
    command = ["build", "-ldflags", source.ldflags, "-o", str(unfinished), source.package]
    _run_go(go, command, source, folder / f"{source.name}.log", progress)
    unfinished.replace(folder / source.name)


def _run_go(go: Go, arguments: Sequence[str], source: Source, log: Path, progress: Progress) -> None:
    log.unlink(missing_ok=True)
    argv = (str(go.executable), *arguments)
    process = ManagedProcess("go", argv, log=log, env=go.environment(os.environ), cwd=source.module).spawn()
    try:
        while process.running:
            progress.beat(_current_download(log))
            time.sleep(_POLL_SECONDS)
    finally:
        process.kill()
    if process.returncode != 0:
        progress.leave()
        raise BuildError(_explain(f"{source.name} could not be built", log))


def _current_download(log: Path) -> str:
    last = tail(log, 1)
    return last.removeprefix("go: ") if last.startswith("go: downloading") else ""


def _explain(what: str, log: Path) -> str:
    """Say what failed, why if the log betrays a well-known reason, and what the log's end is."""
    end = tail(log, 30)
    reason = next((advice for sign, advice in _SPEAKING_ERRORS if sign in end.lower()), "Go reported an error")
    return f"{what}: {reason}.\nThe log {log} ends with:\n{end}"


def _write_stages(workshop: Workshop, progress: Progress) -> None:
    """Write the stages that come with kwok's sources: nodes that are ready and pods that run at once."""
    kwok = next(source for source in workshop.sources if source.name == "kwok")
    progress.enter("the stages of kwok")
    go = find_go(needed_go([kwok]), workshop.cache)
    log = workshop.folder / "kwok-stages.log"
    _run_go(go, ["mod", "download", "sigs.k8s.io/kwok"], kwok, log, progress)
    _run_go(go, ["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"], kwok, log, progress)
    stages = Path(log.read_text().strip()) / "kustomize" / "stage" / "fast"
    result = subprocess.run(
        [workshop.path("kubectl"), "kustomize", stages, "--load-restrictor", "LoadRestrictionsNone"],
        capture_output=True,
        check=False,
    )
    if result.returncode != 0:
        raise BuildError(f"kubectl could not put kwok's stages together: {result.stderr.decode(errors='replace')}")
    unfinished = workshop.folder / f".{STAGES}.unfinished"
    unfinished.write_bytes(result.stdout)
    unfinished.replace(workshop.folder / STAGES)
    progress.done("written")


def _check_space(workshop: Workshop) -> None:
    free = shutil.disk_usage(workshop.cache).free
    if free < workshop.needed_bytes:
        raise BuildError(
            f"{workshop.cache} has {free / 1e9:.1f} GB of free space, and a build needs up to "
            f"{workshop.needed_bytes / 1e9:.1f} GB: "
            "free some space, or point XDG_CACHE_HOME (and Go's GOCACHE and GOMODCACHE) elsewhere"
        )


@contextmanager
def _locked(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the one lock on a cache folder, and say so while somebody else has it. The kernel releases it if we die."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"the cache {folder} cannot be made: {error.strerror}; set XDG_CACHE_HOME") from None
    with (folder / ".lock").open("w") as lock:
        if not _try_lock(lock.fileno()):
            progress.enter(f"waiting for another build in {folder}")
            while not _try_lock(lock.fileno()):
                progress.beat()
                time.sleep(_POLL_SECONDS)
            progress.done("it has ended")
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
