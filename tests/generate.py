"""Writes the files that are made from the code, or says which are out of date: `python -m tests.generate [--check]`."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from webhook import options
from webhook.admission.registration import Deployment, ServiceEndpoint, configurations
from webhook.app import registrations
from webhook.commands.common import dump
from webhook.commands.rbac import roles
from webhook.config import Setting
from webhook.hooks.checksums.controller.scope import Access

ROOT: Final = Path(__file__).resolve().parent.parent
NAMESPACE: Final = "rollonce"
CONTROLLER: Final = f"system:serviceaccount:{NAMESPACE}:rollonce-controller"


@dataclass(frozen=True, slots=True)
class Generated:
    """A file that is made from the code.

    Attributes:
        path: Where it stands.
        make: Returns what it has to hold.
    """

    path: Path
    make: Callable[[], str]


def webhooks_manifest() -> str:
    """The webhook configurations of deploy/manifests."""
    deployment = Deployment(ServiceEndpoint(NAMESPACE, "rollonce"))
    header = "# Made from the code by `make generate`; caBundle is put in by the controller.\n"
    return header + dump(configurations(registrations(controller=CONTROLLER), deployment))


def access_manifest(access: Access) -> str:
    """The rights in the namespaces that are served."""
    header = f"# Made from the code by `make generate`: rollonce rbac --mode {access.value}\n"
    return header + dump(roles(access))


def settings_reference() -> str:
    """The table of settings of the documentation."""
    rows = "".join(_row(setting) for setting in options.ALL)
    return (
        "# Settings\n\n"
        "<!-- Made from the code by `make generate`. -->\n\n"
        "A flag goes before an environment variable, that before the file given by `--config`, that before the\n"
        "default. The file is YAML; a dot in a name is a level: `log.level` is `log: {level: …}`. A wrong value ends\n"
        "the program at its start with exit code 2 and says which setting, where it came from and what is allowed.\n\n"
        "| in the file | flag | environment | default | meaning |\n|---|---|---|---|---|\n" + rows
    )


def _row(setting: Setting[Any]) -> str:
    variables = ", ".join(f"`{variable}`" for variable in setting.variables)
    default = f"`{setting.default}`" if setting.default else ""
    return f"| `{setting.name}` | `{setting.flag}` | {variables} | {default} | {setting.help} |\n"


FILES: Final = (
    Generated(ROOT / "deploy" / "manifests" / "webhooks.yaml", webhooks_manifest),
    Generated(ROOT / "deploy" / "manifests" / "access" / "role.yaml", lambda: access_manifest(Access.NAMESPACES)),
    Generated(ROOT / "deploy" / "manifests" / "access-cluster" / "role.yaml", lambda: access_manifest(Access.CLUSTER)),
    Generated(ROOT / "docs" / "settings.md", settings_reference),
)


def outdated(files: Sequence[Generated], root: Path) -> list[tuple[Path, str]]:
    """Return each file that differs from what the code makes, with the difference."""
    found = []
    for file in files:
        wanted = file.make()
        held = file.path.read_text(encoding="utf-8") if file.path.exists() else ""
        if held != wanted:
            name = str(file.path.relative_to(root))
            lines = difflib.unified_diff(
                held.splitlines(keepends=True), wanted.splitlines(keepends=True), name, f"{name} (from the code)"
            )
            found.append((file.path, "".join(lines)))
    return found


def main(arguments: list[str], *, files: Sequence[Generated] = FILES, root: Path = ROOT) -> int:
    """Write the files; with `--check` only compare, and fail if one differs."""
    if arguments == ["--check"]:
        differing = outdated(files, root)
        for _, difference in differing:
            sys.stdout.write(difference)
        print(
            f"{len(differing)} of {len(files)} generated files are out of date; run `make generate`."
            if differing
            else f"All {len(files)} generated files are up to date."
        )
        return 1 if differing else 0
    for file in files:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_text(file.make(), encoding="utf-8")
        print(f"wrote {file.path.relative_to(root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
