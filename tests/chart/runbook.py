"""The runbook and its commands."""

from __future__ import annotations

import re
from typing import Final

from tests.rollonce import ROOT

RUNBOOK: Final = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")


def rollonce_commands(text: str) -> list[str]:
    """Return the commands of rollonce in a text, each once, in order."""
    found = re.findall(r"^(?:.* -- | *)(rollonce (?:certs|rbac|runs|webhooks)\b[^|\n]*)", text, re.MULTILINE)
    return list(dict.fromkeys(command.strip() for command in found))


def commands_in_pods(text: str) -> list[str]:
    """Return those that are run in a server by `kubectl exec`."""
    found = re.findall(r"kubectl exec .*deploy(?:ment)?/rollonce .*-- (rollonce .*)$", text, re.MULTILINE)
    return list(dict.fromkeys(found))
