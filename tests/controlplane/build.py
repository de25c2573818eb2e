"""The programs of a control plane: found where they exist, or built once into a cache of the user.

Two builds at the same time do the work once: a build holds a lock on the cache folder, and a program gets its name
only when it is complete.
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
"""The programs need 0.5 GB. Go's own caches need up to 6 GB more, but can be on another disk."""

_POLL_SECONDS = 0.1

_NO_NETWORK = "no network: modules have to be downloaded once; connect, or set GOPROXY to a mirror you can reach"

_KNOWN_ERRORS = (
    ("no space left on device", "the disk is full: free some space, or point XDG_CACHE_HOME and GOCACHE elsewhere"),
    ("dial tcp", _NO_NETWORK),
    ("no such host", _NO_NETWORK),
    ("tls handshake timeout", _NO_NETWORK),
    ("module lookup disabled", "GOPROXY or GOFLAGS forbids downloads: modules have to be downloaded once"),
    ("checksum mismatch", "a downloaded module is not the pinned one: do not trust the mirror that GOPROXY names"),
)


def default_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the user's folder in which programs are built."""
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "~")).expanduser() / ".cache"
    return Path(base) / "rollonce" / "controlplane"


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """Where programs are found or built.

    Attributes:
        given: A folder whose programs are used unchanged; programs that it lacks are built.
        cache: Folder in which the other programs are built.
        sources: The programs to build.
        needed_bytes: Free space without which no build is started.
    """

    given: Path | None = None
    cache: Path = field(default_factory=default_cache)
    sources: tuple[Source, ...] = field(default_factory=catalogue)
    needed_bytes: int = _NEEDED_BYTES

    @classmethod
    def of_environment(cls, given: Path | None = None, environment: Mapping[str, str] = os.environ) -> BuildConfig:
        """Return the configuration with the given folder or else `KUBEBUILDER_ASSETS`, as controller-runtime does."""
        assets = environment.get("KUBEBUILDER_ASSETS")
        return cls(given or (Path(assets) if assets else None), default_cache(environment))

    @property
    def folder(self) -> Path:
        """Folder of the programs with exactly these pins, flags and platform."""
        return self.cache / fingerprint(self.sources, platform_name())

    def path(self, name: str) -> Path:
        """Return the path of a program, which may not be built yet."""
        if self.given is not None and (self.given / name).is_file():
            return self.given / name
        return self.folder / name

    def missing(self) -> list[Source]:
        """Return the programs that must be built."""
        return [source for source in self.sources if not self.path(source.name).is_file()]

    def programs(self) -> Programs:
        """Return the paths of all programs.

        Raises:
            BuildError: A program is not built yet.
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


def ensure(config: BuildConfig | None = None, progress: Progress | None = None) -> Programs:
    """Return all programs of a control plane, and build them first if needed (about 6 minutes on 2 cores).

    Raises:
        BuildError: A program could not be built; the message has the reason and the path of the log.
    """
    config = config or BuildConfig.of_environment()
    progress = progress or Progress()
    build(config, progress)
    if not config.path(STAGES).is_file():
        with _locked(config.folder, progress):
            _write_stages(config, progress)
    return config.programs()


def build(config: BuildConfig, progress: Progress) -> None:
    """Build the missing programs; if another process is building, wait for it and build what is missing then.

    Raises:
        BuildError: As of `ensure`.
    """
    if config.missing():
        with _locked(config.folder, progress):
            _build_locked(config, progress)


def _build_locked(config: BuildConfig, progress: Progress) -> None:
    missing = config.missing()
    if not missing:
        return
    _check_space(config)
    progress.enter("looking for Go")
    go = find_go(needed_go(missing), config.cache)
    progress.done(f"Go {'.'.join(map(str, go.version))} at {go.executable}")
    for number, source in enumerate(config.sources, 1):
        progress.enter(f"[{number}/{len(config.sources)}] {source.name}")
        if source in missing:
            _compile(go, source, config.folder, progress)
        progress.done("built" if source in missing else f"found in {config.path(source.name).parent}")


def _compile(go: Go, source: Source, folder: Path, progress: Progress) -> None:
    unfinished = folder / f".{source.name}.unfinished"
    unfinished.unlink(missing_ok=True)  # Go does not overwrite an incomplete program, which a killed build leaves
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
    """Return a message with the failure, its reason if the log shows a known one, and the end of the log."""
    end = tail(log, 30)
    reason = next((advice for text, advice in _KNOWN_ERRORS if text in end.lower()), "Go reported an error")
    return f"{what}: {reason}.\nThe log {log} ends with:\n{end}"


def _write_stages(config: BuildConfig, progress: Progress) -> None:
    """Write the stages that come with kwok's sources: nodes become Ready and pods run at once."""
    kwok = next(source for source in config.sources if source.name == "kwok")
    progress.enter("the stages of kwok")
    go = find_go(needed_go([kwok]), config.cache)
    log = config.folder / "kwok-stages.log"
    _run_go(go, ["mod", "download", "sigs.k8s.io/kwok"], kwok, log, progress)
    _run_go(go, ["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"], kwok, log, progress)
    stages = Path(log.read_text().strip()) / "kustomize" / "stage" / "fast"
    result = subprocess.run(
        [config.path("kubectl"), "kustomize", stages, "--load-restrictor", "LoadRestrictionsNone"],
        capture_output=True,
        check=False,
    )
    if result.returncode != 0:
        raise BuildError(f"kubectl could not put kwok's stages together: {result.stderr.decode(errors='replace')}")
    unfinished = config.folder / f".{STAGES}.unfinished"
    unfinished.write_bytes(result.stdout)
    unfinished.replace(config.folder / STAGES)
    progress.done("written")


def _check_space(config: BuildConfig) -> None:
    free = shutil.disk_usage(config.cache).free
    if free < config.needed_bytes:
        raise BuildError(
            f"{config.cache} has {free / 1e9:.1f} GB of free space, and a build needs up to "
            f"{config.needed_bytes / 1e9:.1f} GB: "
            "free some space, or point XDG_CACHE_HOME (and Go's GOCACHE and GOMODCACHE) elsewhere"
        )


@contextmanager
def _locked(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock on a cache folder, and show that it waits. The kernel releases the lock when this process ends."""
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
