"""The runs that an instance remembers."""

from collections import defaultdict

from brummer.instance.detect import Script
from brummer.instance.run import Run

KEPT_RUNS = 20
"""Of all scripts together, beside the latest of each; the facts of a run are a few hundred bytes, its lines stay as
long as the output keeps them.
"""


class Runs:
    """All of them in the order of their creation, and of each script the latest."""

    def __init__(self) -> None:
        self._all: list[Run] = []
        self._current: dict[str, Run] = {}
        self._counts: defaultdict[str, int] = defaultdict(int)

    def new(self, script: Script, first_n: int, at: str, restarts: int) -> Run:
        """Remember it, and forget the oldest that was followed by another of its name."""
        self._counts[script.name] += 1
        run = Run(script, self._counts[script.name], first_n, at, restarts)
        self._all.append(run)
        self._current[script.name] = run
        if len(self._all) > KEPT_RUNS + len(self._current):
            self._all.remove(next(old for old in self._all if old is not self._current[old.name]))
        return run

    def all(self) -> list[Run]:
        return list(self._all)

    def current(self, name: str) -> Run | None:
        return self._current.get(name)

    def current_runs(self) -> list[Run]:
        return list(self._current.values())

    def find(self, process: str) -> Run | None:
        """By name the latest, else by ``process_id`` that very run: a script may be called as a run of another is."""
        by_id = (run for run in self._all if run.process_id == process)
        return self._current.get(process) or next(by_id, None)
