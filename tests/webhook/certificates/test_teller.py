"""Problems are told once."""

from __future__ import annotations

import io
import json

from webhook import log
from webhook.certificates.teller import Teller


def test_a_problem_is_told_when_it_is_new_and_when_it_is_over() -> None:
    """Not at each try; another problem is new, and so is the same one after it was over."""
    logged = io.StringIO()
    teller = Teller(log.configure("info", "json", logged))
    teller.fine("fine")
    for problem in ("a", "a", "b", "a"):
        teller.problem("wrong", problem)
    teller.fine("fine")
    teller.fine("fine")
    teller.problem("wrong", "a")
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    told = [(line["event"], line.get("problem")) for line in lines]
    assert told == [("wrong", "a"), ("wrong", "b"), ("wrong", "a"), ("fine", None), ("wrong", "a")]
