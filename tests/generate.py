"""Write the files that are generated from the code, or check them: `python -m tests.generate [--check]`."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.chart.dashboard import dashboard
from tests.chart.generation import CHART, access_rules, alerts, readme, values_schema, webhooks_template, with_version
from webhook.admission.registration import Installation, RegistrationOptions, ServiceEndpoint, configurations
from webhook.app import Application
from webhook.commands.rbac import roles
from webhook.features import FEATURES
from webhook.kube.rbac import Access, AccessOptions
from webhook.runtime.command_line import dump
from webhook.runtime.settings import Setting

ROOT: Final = Path(__file__).resolve().parent.parent
KUSTOMIZATION: Final = ROOT / "deploy" / "manifests" / "kustomization.yaml"
NAMESPACE: Final = "rollonce"
CONTROLLER: Final = f"system:serviceaccount:{NAMESPACE}:rollonce-controller"
APPLICATION: Final = Application(FEATURES)


@dataclass(frozen=True, slots=True)
class Generated:
    """A file that is generated from the code.

    Attributes:
        path: Path of the file.
        make: Returns its contents.
    """

    path: Path
    make: Callable[[], str]


def webhooks_manifest() -> str:
    """Return the webhook configurations of deploy/manifests."""
    registrations = APPLICATION.registrations(RegistrationOptions(controller_user=CONTROLLER))
    installation = Installation(ServiceEndpoint(NAMESPACE, "rollonce"))
    header = "# Made from the code by `make generate`; caBundle is put in by the controller.\n"
    return header + dump(configurations(registrations, installation))


def listed_webhooks() -> str:
    """Return the webhook configurations of the overlay with an operator's list, as the command prints them."""
    file = ROOT / "deploy" / "overlays" / "operator-list" / "settings.yaml"
    return dump(APPLICATION.webhook_configurations(APPLICATION.catalogue.resolve({}, config=file, environ={})))


def access_manifest(access: Access) -> str:
    """Return the RBAC rules for the namespaces that are served."""
    header = f"# Made from the code by `make generate`: rollonce rbac --mode {access.value}\n"
    return header + dump(roles(APPLICATION, AccessOptions(access)))


def settings_reference() -> str:
    """Return the reference of all settings."""
    rows = "".join(map(_row, APPLICATION.catalogue.settings))
    return (
        "# Settings\n\n"
        "<!-- Made from the code by `make generate`. -->\n\n"
        "Precedence: a flag, then an environment variable, then the file given by `--config`, then the default. The\n"
        "file is YAML; a dot in a name is a level: `log.level` is `log: {level: …}`. A wrong value ends the program "
        "at\n"
        "its start with exit code 2; the message names the setting, the source of the value and what is allowed.\n\n"
        "| in the file | flag | environment | default | meaning |\n|---|---|---|---|---|\n" + rows
    )


def _row(setting: Setting[Any]) -> str:
    variables = ", ".join(f"`{variable}`" for variable in setting.variables)
    default = f"`{setting.default}`" if setting.default else ""
    return f"| `{setting.name}` | `{setting.flag}` | {variables} | {default} | {setting.help} |\n"


FILES: Final = (
    Generated(ROOT / "deploy" / "manifests" / "webhooks.yaml", webhooks_manifest),
    Generated(ROOT / "deploy" / "overlays" / "operator-list" / "webhooks.yaml", listed_webhooks),
    Generated(ROOT / "deploy" / "manifests" / "access" / "role.yaml", lambda: access_manifest(Access.NAMESPACES)),
    Generated(ROOT / "deploy" / "manifests" / "access-cluster" / "role.yaml", lambda: access_manifest(Access.CLUSTER)),
    Generated(ROOT / "docs" / "settings.md", settings_reference),
    Generated(CHART / "templates" / "webhooks.yaml", webhooks_template),
    Generated(CHART / "files" / "access.yaml", access_rules),
    Generated(CHART / "files" / "alerts.yaml", alerts),
    Generated(ROOT / "deploy" / "dashboards" / "dashboard.json", dashboard),
    Generated(CHART / "files" / "dashboard.json", dashboard),
    Generated(CHART / "values.schema.json", values_schema),
    Generated(CHART / "README.md", readme),
    Generated(CHART / "Chart.yaml", lambda: with_version(CHART / "Chart.yaml")),
    Generated(KUSTOMIZATION, lambda: with_version(KUSTOMIZATION)),
)


def outdated(files: Sequence[Generated], root: Path) -> list[tuple[Path, str]]:
    """Return each file that differs from its generated contents, with the difference."""
    found = []
    for file in files:
        expected = file.make()
        actual = file.path.read_text(encoding="utf-8") if file.path.exists() else ""
        if actual != expected:
            name = str(file.path.relative_to(root))
            lines = difflib.unified_diff(
                actual.splitlines(keepends=True), expected.splitlines(keepends=True), name, f"{name} (from the code)"
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
