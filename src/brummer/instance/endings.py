"""What is to be said of the end of a run, and what follows it."""

import asyncio
from collections.abc import Sequence

from brummer.core.errors import BrummerError
from brummer.instance import starting
from brummer.instance.dependencies import DependencyFailed
from brummer.instance.detect import Script
from brummer.instance.port_owner import PortOwner
from brummer.instance.run import Ending, Run
from brummer.process.restarts import LOOP_ENDS, SHORT_S, Decision, Restarts
from brummer.process.runner import Exit


class Endings:
    """Keeps, for each script, what has happened since somebody asked for it."""

    def __init__(self, generation: str) -> None:
        self._generation = generation
        self._restarts: dict[str, Restarts] = {}

    def asked_for(self, script: Script) -> None:
        """What was before is forgotten."""
        self._restarts[script.name] = Restarts(script.restart, script.max_restarts)

    async def of(self, run: Run, exit_: Exit, lines: Sequence[str], killed_before: int | None) -> Ending:
        """Of a run that has ended, with its last lines, and how many processes the kernel had killed at its start."""
        from brummer.instance.failure import failure_of, with_last_line  # noqa: PLC0415 - a start needs none of it
        from brummer.process.exit_words import stopped_in_words  # noqa: PLC0415 - as above

        lasted_s = asyncio.get_running_loop().time() - run.spawned_s
        error, owner = None, None
        if run.state != "stopping" and exit_.exit_code != 0:
            error, owner = await asyncio.to_thread(
                failure_of,
                exit_,
                lines,
                killed_before=killed_before,
                wanted_port=starting.wanted_port(run.script),
                generation=self._generation,
            )
        if run.state == "stopping":  # by now: a stop may be asked for in that thread's time
            return Ending(stopped_in_words(exit_, run.script.stop_signal, run.script.stop_timeout_s))
        return self._followed(run, lasted_s, error, owner, with_last_line(error or "exit 0", lines))

    def of_failed_start(self, run: Run, error: BrummerError) -> Ending:
        """Only what was started by itself is tried again by itself: who asked for a start is told."""
        if not run.restarts or isinstance(error, DependencyFailed):
            return Ending(error.message)
        return self._followed(run, 0.0, error.message, None, error.message)

    def _followed(self, run: Run, lasted_s: float, error: str | None, owner: PortOwner | None, told: str) -> Ending:
        restarts = self._restarts[run.name]
        decision = restarts.ended(lasted_s, well=error is None, error=told)
        first_error = restarts.first_error if decision.why_not == "crash loop" else None
        return Ending(_explained(error, decision), owner, first_error, decision.delay_s, restarts.count)


def _explained(error: str | None, decision: Decision) -> str | None:
    """The error, and why it is not started again although it should be."""
    if decision.why_not == "crash loop":
        return f"{error or 'exit 0'}; {LOOP_ENDS} times in a row it ended within {SHORT_S:g} s, so it is left alone"
    if decision.why_not == "limit":
        return f"{error or 'exit 0'}; it was started again max_restarts times"
    return error
