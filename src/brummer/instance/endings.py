"""What is to be said of the end of a run, and what follows it."""

import asyncio
from collections.abc import Sequence
from typing import Final

from brummer.core.errors import BrummerError
from brummer.host.out_of_memory import OomKills
from brummer.instance import starting
from brummer.instance.dependencies import DependencyFailed
from brummer.instance.detect import Script
from brummer.instance.restart_policy import LOOP_ENDS, SHORT_S, Decision, Restarts
from brummer.instance.run import Ending, Run
from brummer.process.child import Exit

_WHY_NOT: Final[dict[str | None, str]] = {
    "crash loop": f"{LOOP_ENDS} times in a row it ended within {SHORT_S:g} s, so it is left alone",
    "limit": "it was started again max_restarts times",
}


class Endings:
    """Keeps, for each script, what has happened since somebody asked for it."""

    def __init__(self, generation: str) -> None:
        self._generation = generation
        self._restarts: dict[str, Restarts] = {}

    def asked_for(self, script: Script) -> None:
        """What was before is forgotten."""
        self._restarts[script.name] = Restarts(script.restart, script.max_restarts)

    async def of(self, run: Run, exit_: Exit, lines: Sequence[str], killed_before: OomKills | None) -> Ending:
        """Decide how a run ended, from its last lines and the kernel's count of memory kills before its start."""
        from brummer.instance.exit_words import stopped_in_words  # noqa: PLC0415 - as above
        from brummer.instance.failure import failure_of, kills_since, with_its_error  # noqa: PLC0415 - no start does

        lasted_s = asyncio.get_running_loop().time() - run.spawned_s
        reason, owner = None, None
        if run.state != "stopping" and exit_.exit_code != 0:
            reason, owner = await asyncio.to_thread(
                failure_of,
                exit_,
                lines,
                killed_before=killed_before,
                wanted_port=starting.wanted_port(run.script),
                generation=self._generation,
            )
        if run.state == "stopping":  # by now: a stop may be asked for in that thread's time
            kills = await asyncio.to_thread(kills_since, killed_before) if exit_.signal == "SIGKILL" else None
            script = run.script
            return Ending(stopped_in_words(exit_, script.stop_signal, script.stop_timeout_s, oom_kills=kills))
        decision = self._restarts[run.name].ended(
            lasted_s,
            well=exit_.exit_code == 0,
            error=with_its_error(exit_, reason, run.first_printed_error, lines),
        )
        return self._followed_by(run, decision, reason)._replace(port_owner=owner)

    def of_failed_start(self, run: Run, error: BrummerError) -> Ending:
        """Only what was started by itself is tried again by itself: who asked for a start is told."""
        if not run.restarts or isinstance(error, DependencyFailed):
            return Ending(error.message)
        decision = self._restarts[run.name].ended(0.0, well=False, error=error.message)
        return self._followed_by(run, decision, error.message)

    def _followed_by(self, run: Run, decision: Decision, reason: str | None) -> Ending:
        restarts = self._restarts[run.name]
        first_error = restarts.first_error if decision.why_not == "crash loop" else None
        own = None if reason and first_error and first_error.startswith(reason) else reason
        whole = "; ".join(filter(None, (own, _WHY_NOT.get(decision.why_not)))) or None
        return Ending(whole, None, first_error, decision.delay_s, restarts.count)
