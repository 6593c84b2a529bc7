"""Why a run ended, in words that claim no more than is known, and whether it starts again.

Everything that decides is here: the exit status and the signal (`describe_exit`), kills for lack of memory (the count
of the kernel before and after), a taken port (`port_in_use` searches the output for a complaint), and the first error
that the run printed. `restart_policy` decides about the restart.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import msgspec

from brummer.core.errors import BrummerError
from brummer.host.out_of_memory import OomKills
from brummer.instance import starting
from brummer.instance.dependencies import DependencyFailed
from brummer.instance.port_owner import PortOwner, owner_of
from brummer.instance.restart_policy import LOOP_ENDS, SHORT_S, Restarts
from brummer.instance.run import Ending, Run
from brummer.process.child import Exit

CRASH_LINE_LENGTH: Final = 300
"""Characters of the last line that an error of a crash loop shows."""
_SHELL_CODES: Final = {126: "found, but it can't be executed", 127: "command not found"}
"""What shells, env and xargs mean by these."""
STATUS_TAKEN: Final = "how it ended is not known: its exit status was taken by another process"
_SIGNALLED: Final = {130: "SIGINT", 134: "SIGABRT", 137: "SIGKILL", 139: "SIGSEGV", 143: "SIGTERM"}
"""A shell exits with 128 + the number of the signal that ended its command."""
_CRASHES: Final = {
    "SIGSEGV": "segmentation fault",
    "SIGBUS": "bus error",
    "SIGILL": "illegal instruction",
    "SIGFPE": "arithmetic error, such as a division by zero",
    "SIGABRT": "aborted, as by a failed assertion",
    "SIGXCPU": "CPU time limit exceeded",
}
_NO_RESTART: Final[dict[str | None, str]] = {
    "crash loop": f"it ended {LOOP_ENDS} times in a row within {SHORT_S:g} s, so it is not restarted",
    "limit": "it has been restarted max_restarts times",
}

UNKNOWN_PORT: Final = 0
"""The output complains of a taken port without its number, as Python's own servers do."""
_LAST_PORT: Final = 65_535
_COMPLAINT: Final = (
    r"EADDRINUSE|address already in use|only one usage of each socket address|connection in use"
    r"|port (?:\d+ )?(?:is|was) (?:already )?(?:in use|allocated|used|taken)|port already in use"
)
_PORT: Final = r"""(?: \bport[\s:=]{1,3} | ::: | \]: | \*: | localhost: | \d\.\d{1,3}\.\d{1,3}: | (?:^|[\s("']):
    | ['"],\s* ) (\d{1,5}) \b"""


async def ending_of(
    run: Run,
    exit_: Exit,
    lines: Sequence[str],
    restarts: Restarts,
    generation: str,
    oom_kills: Callable[[], int | None],
) -> Ending:
    """Decide how a run ended and whether it restarts. ``lines``: its last ones. ``oom_kills()``: how many processes the
    kernel has killed for lack of memory since the run's start, None where that is unknown; it reads files.
    """
    loop, script = asyncio.get_running_loop(), run.script
    lasted_s = loop.time() - run.spawned_s
    words = complaint = owner = None
    if run.state != "stopping" and exit_.exit_code != 0:
        words = describe_exit(exit_, oom_kills=await asyncio.to_thread(oom_kills))
        complaint, owner = await asyncio.to_thread(taken_port, lines, starting.wanted_port(script), generation)
    if run.state == "stopping":  # asked again: the stop may have been requested while the threads ran
        kills = await asyncio.to_thread(oom_kills) if exit_.signal == "SIGKILL" else None
        return Ending(describe_stop(exit_, script.stop_signal, script.stop_timeout_s, oom_kills=kills))
    reason = "; ".join(filter(None, (words, complaint))) or None
    printed = run.first_printed_error or (lines[-1][:CRASH_LINE_LENGTH] if lines else None)
    error = ": ".join(filter(None, (reason or f"exit {exit_.exit_code}", printed)))
    decided = _decided(restarts, reason, lasted_s, error, well=exit_.exit_code == 0)
    return msgspec.structs.replace(decided, port_owner=owner)


def ending_of_failed_start(run: Run, error: BrummerError, restarts: Restarts) -> Ending:
    """A start that failed is retried only if it was a restart: the caller of any other start gets the error."""
    if not run.restarts or isinstance(error, DependencyFailed):
        return Ending(error.message)
    return _decided(restarts, error.message, 0.0, error.message, well=False)


def _decided(restarts: Restarts, reason: str | None, lasted_s: float, error: str, *, well: bool) -> Ending:
    decision = restarts.ended(lasted_s, well=well, error=error)
    first_error = restarts.first_error if decision.why_not == "crash loop" else None
    own = None if reason and first_error and first_error.startswith(reason) else reason
    whole = "; ".join(filter(None, (own, _NO_RESTART.get(decision.why_not)))) or None
    return Ending(whole, None, first_error, decision.delay_s, restarts.count)


def describe_exit(exit_: Exit, *, oom_kills: int | None = None) -> str | None:
    """How a process ended that Brummer did not stop; None where the exit code says everything."""
    code, name = exit_.exit_code, exit_.signal
    if name in _CRASHES:
        return f"killed by {name}: {_CRASHES[name]}"
    if name is not None:
        return f"killed by {name}, not sent by Brummer{_oom(oom_kills) if name == 'SIGKILL' else ''}"
    if code is None:
        return STATUS_TAKEN
    if code in _SHELL_CODES:
        return f"exit {code}: {_SHELL_CODES[code]}"
    if (ended_by := _SIGNALLED.get(code)) is None:
        return None
    return f"exit {code}: a command in it was killed by {ended_by}{_oom(oom_kills) if ended_by == 'SIGKILL' else ''}"


def describe_stop(exit_: Exit, stop_signal: str, grace_s: float, *, oom_kills: int | None = None) -> str | None:
    """The reason of a requested stop, if the process ignored the signal, or another program killed it first."""
    if exit_.was_forced:
        return f"it did not end within {grace_s:g} s of {stop_signal}, so it was killed"
    if exit_.signal == stop_signal or (exit_.signal is None and exit_.exit_code is not None):
        return None
    return describe_exit(exit_, oom_kills=oom_kills)


def _oom(kills: int | None) -> str:
    if kills is None:
        return ": out of memory?"
    if not kills:
        return "; the kernel's OOM killer did not send it"
    return f": out of memory: the kernel's OOM killer killed {kills} process{'es' if kills > 1 else ''} meanwhile"


def kills_since(before: OomKills | None, now: OomKills | None) -> int | None:
    """How many processes the kernel has killed in between; None if unknown, as after a change of control group."""
    return now.kills - before.kills if now and before and now.source == before.source else None


def taken_port(lines: Sequence[str], wanted_port: int | None, generation: str) -> tuple[str | None, PortOwner | None]:
    """In words, if the output complains of a taken port, and its owner. Reads all of /proc: use a thread."""
    port = port_in_use(lines)
    if port is None:
        return None, None
    port = port or wanted_port or UNKNOWN_PORT
    if port == UNKNOWN_PORT:
        return "a port that it wanted is taken; its output does not say which", None
    owner = owner_of(port, generation)
    return owner.in_words() if owner else f"port {port} was taken; no process listens there now", owner


def port_in_use(lines: Sequence[str]) -> int | None:
    """The port of the last complaint that names one, `UNKNOWN_PORT` if none does, None without a complaint."""
    complaint, number = _patterns()
    complaints = [line for line in lines if complaint.search(line)]
    for line in reversed(complaints):
        ports = [port for digits in number.findall(line) if 0 < (port := int(digits)) <= _LAST_PORT]
        if ports:
            return ports[-1]
    return UNKNOWN_PORT if complaints else None


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A complaint, and a port in it. 2 ms, which no start has."""
    return re.compile(_COMPLAINT, re.IGNORECASE), re.compile(_PORT, re.VERBOSE | re.IGNORECASE)
