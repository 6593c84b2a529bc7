"""In which order scripts start and stop, and the wait for what a script depends on."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

from brummer.core.errors import BrummerError, NotFound
from brummer.instance.detect import Script
from brummer.instance.restart_policy import SHORT_S
from brummer.instance.run import Run

if TYPE_CHECKING:
    from brummer.instance.changes import Changes
    from brummer.instance.run import Runs

GRACE_S: Final = SHORT_S
"""A worker, or a compiler that watches files, never listens. It must have run for so long before its dependents start:
what fails at its start has failed by then.
"""
CHECK_EVERY_S: Final = 1.0
"""The end of a grace is no change, so it is checked for."""


class DependencyFailed(BrummerError):
    """A script was not started, because one that it depends on is not ready and will not be; ``context`` has both
    names, and that one's status.
    """

    code = "dependency_failed"


class DependencyCycle(DependencyFailed):
    """A script depends on itself; ``context.cycle`` has the names, the first also as the last."""

    code = "dependency_cycle"


async def satisfied(
    run: Run,
    runs: "Runs",
    changes: "Changes",
    find: Callable[[str], Script],
    ensure: Callable[[Script], Awaitable[object]],
    *,
    grace_s: float = GRACE_S,
    check_every_s: float = CHECK_EVERY_S,
) -> None:
    """Returns when all dependencies of a run are satisfied (`is_satisfied`). Starts (``ensure``) those that neither run
    nor have ended well. Raises DependencyFailed as soon as one has failed for good.
    """
    loop = asyncio.get_running_loop()

    def check() -> bool:
        needed = [other for name in run.script.depends_on if (other := runs.current(name))]
        for other in needed:
            if (error := missing(other, run.name)) and not runs.comes_back(other):
                raise error
        run.waits_for = [other.name for other in needed if not is_satisfied(other, loop.time(), grace_s)]
        return not run.waits_for

    def is_decided() -> bool:
        try:
            return check()
        except DependencyFailed:
            return True

    for script in await asyncio.to_thread(needed_by, run.script, find):
        there = runs.current(script.name)
        if there is None or there.state == "stopping" or missing(there, run.name):
            with contextlib.suppress(BrummerError):  # its own run reports it
                await ensure(script)
    while not check():  # again after each wait: the change may be undone
        await changes.until(is_decided, check_every_s)


def needed_by(script: Script, find: Callable[[str], Script]) -> list[Script]:
    """What must be ready before it starts. Raises DependencyCycle, and DependencyFailed for an unknown name."""
    from graphlib import CycleError, TopologicalSorter  # noqa: PLC0415 - few scripts depend on others

    known, waiting = {script.name: script}, [script]
    try:
        while waiting:
            for name in waiting.pop().depends_on:
                if name not in known:
                    known[name] = find(name)
                    waiting.append(known[name])
        TopologicalSorter({name: each.depends_on for name, each in known.items()}).prepare()
    except NotFound as error:
        raise DependencyFailed(
            f"{script.name} was not started, for what it depends on: {error.message}",
            script=script.name,
            dependency=error.context.get("name"),
        ) from None
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        raise DependencyCycle(f"{cycle[0]} depends on itself: {' → '.join(cycle)}", cycle=cycle) from None
    return [known[name] for name in script.depends_on]


def is_satisfied(run: Run, now_s: float, grace_s: float = GRACE_S) -> bool:
    """Scripts that depend on this one may start: it is ready, has exited with 0, or has run for ``grace_s`` without a
    proof of its own. ``now_s`` is the loop's time.
    """
    runs_on = run.state == "running" and run.script.ready is None and now_s - run.spawned_s >= grace_s
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
    """The runs in groups that are stopped together: a run comes after all that depend on it, those of a cycle last."""
    from graphlib import CycleError, TopologicalSorter  # noqa: PLC0415 - see above

    left = {run.name: run for run in runs}
    order = TopologicalSorter[str](dict.fromkeys(left, ()))
    for name, run in left.items():
        for needed in left.keys() & set(run.script.depends_on):
            order.add(needed, name)
    with contextlib.suppress(CycleError):  # what is outside of the cycles still comes in order
        order.prepare()
    waves: list[list[Run]] = []
    while names := order.get_ready():
        waves.append([left.pop(name) for name in names])
        order.done(*names)
    return [*waves, list(left.values())] if left else waves
