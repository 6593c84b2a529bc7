"""The runs that an instance remembers, and what belongs to a script across its runs."""

import asyncio

from brummer.instance.detect import Script
from brummer.instance.restart_policy import RESTART_BASE_S, Restarts
from brummer.instance.run import Run

KEPT_RUNS = 20
"""Of all scripts together, beside the latest of each. The facts of a run take a few hundred bytes; its lines stay as
long as the output keeps them.
"""


class _ScriptRuns:
    """One script. ``lock`` makes "stop, then start" one step. ``restarts``: since its last requested start."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.restarts = Restarts()
        self.count = 0
        self.current: Run | None = None


class Runs:
    """All runs in the order of their creation, and the latest of each script."""

    def __init__(self, *, kept_runs: int = KEPT_RUNS, restart_base_s: float = RESTART_BASE_S) -> None:
        self._kept_runs = kept_runs
        self._restart_base_s = restart_base_s
        self._all: list[Run] = []
        self._scripts: dict[str, _ScriptRuns] = {}

    def new(self, script: Script, first_n: int, at: str, restarts: int = 0) -> Run:
        """Remember it, and forget the oldest run that is not the latest of its script."""
        own = self._of(script.name)
        own.count += 1
        own.current = run = Run(script, own.count, first_n, at, restarts)
        self._all.append(run)
        if len(self._all) > self._kept_runs + len(self.current_runs()):
            self._all.remove(next(old for old in self._all if old is not self.current(old.name)))
        return run

    def requested(self, script: Script) -> None:
        """A start of the script is requested: its earlier restarts no longer count."""
        self._of(script.name).restarts = Restarts(script.restart, script.max_restarts, self._restart_base_s)

    def lock(self, name: str) -> asyncio.Lock:
        """Held while the script is stopped and started."""
        return self._of(name).lock

    def restarts(self, run: Run) -> Restarts:
        return self._of(run.name).restarts

    def comes_back(self, run: Run) -> bool:
        """It was stopped by a restart that has not started the next run yet."""
        return run.state == "stopped" and self._of(run.name).lock.locked()

    def all(self) -> list[Run]:
        return list(self._all)

    def current(self, name: str) -> Run | None:
        own = self._scripts.get(name)
        return own.current if own else None

    def current_runs(self) -> list[Run]:
        return [own.current for own in self._scripts.values() if own.current]

    def find(self, process: str) -> Run | None:
        """The latest run of the script with this name, else the run with this ``process_id``: a script may have the
        name of another's run.
        """
        by_id = (run for run in self._all if run.process_id == process)
        return self.current(process) or next(by_id, None)

    def _of(self, name: str) -> _ScriptRuns:
        if name not in self._scripts:
            self._scripts[name] = _ScriptRuns()
        return self._scripts[name]
