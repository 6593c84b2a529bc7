"""In which order scripts start and stop. Pure."""

from collections.abc import Callable, Iterable
from typing import Final

from brummer.core.errors import BrummerError, NotFound
from brummer.instance.detect import Script
from brummer.instance.restart_policy import SHORT_S
from brummer.instance.run import Run

GRACE_S: Final = SHORT_S
"""A worker, or a compiler that watches files, never listens. So long it must have run, and then those that depend on it
start: what fails at its start has failed by then.
"""


class DependencyFailed(BrummerError):
    """A script was not started, because one that it depends on is not ready and will not be; ``context`` has both
    names, and that one's status.
    """

    code = "dependency_failed"


class DependencyCycle(DependencyFailed):
    """A script depends on itself; ``context.cycle`` is the way round."""

    code = "dependency_cycle"


def needed_by(script: Script, find: Callable[[str], Script]) -> list[Script]:
    """What must be ready before it starts. Raises DependencyCycle, and DependencyFailed for an unknown name."""
    try:
        _refuse_cycles(script, (), find, set())
        return [find(name) for name in script.depends_on]
    except NotFound as error:
        raise DependencyFailed(
            f"{script.name} was not started, for what it depends on: {error.message}",
            script=script.name,
            dependency=error.context.get("name"),
        ) from None


def _refuse_cycles(script: Script, way: tuple[str, ...], find: Callable[[str], Script], seen: set[str]) -> None:
    if script.name in way:
        cycle = [*way[way.index(script.name) :], script.name]
        raise DependencyCycle(f"{cycle[0]} depends on itself: {' → '.join(cycle)}", cycle=cycle)
    if script.name not in seen:
        seen.add(script.name)
        for name in script.depends_on:
            _refuse_cycles(find(name), (*way, script.name), find, seen)


def is_satisfied(run: Run, now_s: float) -> bool:
    """Whoever depends on this script may start: it is ready, has exited with 0, or runs since `GRACE_S` without a
    proof of its own. ``now_s`` is the loop's time.
    """
    runs_on = run.state == "running" and run.script.ready is None and now_s - run.spawned_s >= GRACE_S
    return runs_on or run.state in {"ready", "exited"}


def missing(run: Run, dependent: str) -> DependencyFailed | None:
    """Why the dependent can't start, if it can't: the run has ended for good, and not well."""
    if not run.has_ended or run.state == "exited":
        return None
    code = f"exit {run.exit.exit_code}" if run.exit and run.exit.exit_code else None
    why = f": {run.reason or code}" if run.reason or code else ""
    return DependencyFailed(
        f"{dependent} was not started: it depends on {run.name}, which is {run.state}{why}",
        script=dependent,
        dependency=run.name,
        status=run.state,
    )


def stop_waves(runs: Iterable[Run]) -> list[list[Run]]:
    """Who is stopped together, and in which order: nobody before those that depend on it."""
    left = list(runs)
    waves: list[list[Run]] = []
    while left:
        needed = {name for run in left for name in run.script.depends_on if name != run.name}
        wave = [run for run in left if run.name not in needed] or left  # a cycle: all at once
        waves.append(wave)
        left = [run for run in left if run not in wave]
    return waves
