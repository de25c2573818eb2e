"""The container image without a container engine: run the Dockerfile's instructions in a folder and test the result."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PREFIX = "/opt/rollonce"


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the build stage, with continued lines joined."""
    stage = DOCKERFILE.partition(" AS build\n")[2].partition("\nFROM ")[0]
    lines = re.sub(r"\\\n\s*", "", stage).splitlines()
    return [
        (word, rest) for line in lines if line and not line.startswith("#") for word, _, rest in [line.partition(" ")]
    ]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the build stage with a folder in place of the root, and return what is copied into the image."""
    folder = tmp_path_factory.mktemp("image")
    source, made = folder / "src", folder / "opt"
    source.mkdir()
    for instruction, rest in instructions():
        if instruction == "COPY":
            *names, target = rest.split()
            for name in names:
                place = source / name if target == "./" else source / target
                place.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / name, place)
        elif instruction == "RUN":
            command = rest.replace(PREFIX, str(made)).replace("python -m venv", f"{sys.executable} -m venv")
            command = re.sub(r"(^|&& )python -m pip wheel", rf"\1{sys.executable} -m pip wheel", command)
            done = subprocess.run(
                ["sh", "-ec", command], cwd=source, capture_output=True, text=True, check=False, timeout=240
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        else:
            assert instruction in {"ENV", "WORKDIR"}, instruction
    shutil.rmtree(source)
    return made


def test_the_entry_point_runs(image: Path) -> None:
    """The installed command starts outside of the repository, without any file that only the repository has."""
    done = subprocess.run(
        [image / "bin" / "rollonce", "--help"],
        cwd=image,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_all_modules_and_scripts_are_packaged(image: Path) -> None:
    """Each module of the programs can be imported, and the scripts for Redis are packaged."""
    code = (
        "import importlib, pkgutil, webhook, certs\n"
        "for package in (webhook, certs):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "from webhook.dedupe import store\n"
        "print(webhook.__file__)"
    )
    done = subprocess.run(
        [image / "bin" / "python", "-c", code],
        cwd=image,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(image))


def test_the_image_has_the_locked_packages_and_no_tools(image: Path) -> None:
    """Each package has the version of the lock file; pip and the test packages are not in the image."""
    locked = dict(
        re.findall(r"^([a-z0-9-]+)==([^ ;]+)", (ROOT / "deploy" / "requirements.txt").read_text(), re.MULTILINE)
    )
    code = (
        "from importlib.metadata import distributions\n"
        "print('\\n'.join(f'{d.name}=={d.version}' for d in distributions()))"
    )
    done = subprocess.run(
        [image / "bin" / "python", "-c", code],
        cwd=image,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={},
    )
    installed = dict(line.lower().replace("_", "-").split("==") for line in done.stdout.split())
    assert installed.pop("rollonce")
    installed.pop("setuptools", None)  # venv of Python 3.11 brings it
    assert installed == {name: locked[name] for name in installed}
    assert "pip" not in installed
    assert "pytest" not in installed


def test_the_last_stage_is_unprivileged() -> None:
    """The last stage copies the build, does not run as root, and starts the server."""
    stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert f"COPY --from=build {PREFIX} {PREFIX}" in stage
    assert re.search(r"^USER 65532:65532$", stage, re.MULTILINE)
    assert stage.rstrip().endswith('ENTRYPOINT ["rollonce"]\nCMD ["serve"]')
    assert "RUN" not in stage
