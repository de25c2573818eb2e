"""The Lua scripts. Those that read the mark of a bucket share a prelude."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from webhook.store.api import Script


def _script(name: str, *, prelude: bool = True) -> Script:
    folder = files(__package__)
    common = folder.joinpath("prelude.lua").read_text(encoding="utf-8") if prelude else ""
    return Script.of(common + folder.joinpath(name).read_text(encoding="utf-8"))


RESERVE: Final = _script("reserve.lua")
MARK: Final = _script("mark.lua")
TICK: Final = _script("tick.lua")
SWAP: Final = _script("swap.lua")
PENDING: Final = _script("pending.lua", prelude=False)
