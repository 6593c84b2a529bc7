"""Which fields of an answer the agents' page names, in backticks or quotes, wherever on the page."""

import re
from pathlib import Path
from typing import Final

PAGE: Final = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
NAMED: Final = frozenset(re.findall(r"[`\"](\w+)", PAGE))


def unnamed_fields(answer: object) -> set[str]:
    """The fields of an answer, at any depth, that the page does not name. Left out: what an error is about, and the
    processes of ``dropped_of``, whose names are the keys.
    """
    if isinstance(answer, list):
        return set().union(*map(unnamed_fields, answer))
    if not isinstance(answer, dict):
        return set()
    inner = (unnamed_fields(value) for name, value in answer.items() if name not in {"error", "dropped_of"})
    return (answer.keys() - NAMED).union(*inner)
