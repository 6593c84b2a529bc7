"""Whether a script is one that listens, judged by its runs; and why one is not ready. Pure: the time is an argument."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from brummer.contract.tools import DEFAULT_WAIT_S

if TYPE_CHECKING:
    from brummer.instance.run import Run

LONG_S: Final = 10.0
"""A run of this length that did not listen says that the script does not: a dev server listens within seconds."""

LIVES_LONG_S: Final = DEFAULT_WAIT_S
"""A run that lives may still begin to listen, as a server behind a build does. A client that gives up a call after
seconds asks again, and must be able to wait for it; one that waits as long as is usual has waited.
"""


class Listened(NamedTuple):
    """Of one run: whether it was ready, and how many seconds it lasted; 0 if that says nothing."""

    was_ready: bool
    lasted_s: float


def listens(runs: Iterable[Listened]) -> bool | None:
    """Judged by these runs, the latest first; None: not known.

    The latest run that was ready, or lasted for `LONG_S`, decides.
    """
    return next((run.was_ready for run in runs if run.was_ready or run.lasted_s >= LONG_S), None)


def listened(ready_at: str | None, started_at: str, ended_at: str | None, now_s: float | None) -> Listened:
    """Of a run with these times; ``now_s`` (seconds of the wall clock) None: when it ended is not known."""
    lasted_s = 0.0
    if ended_at is not None:
        lasted_s = _seconds(ended_at) - _seconds(started_at)
    elif now_s is not None and now_s - _seconds(started_at) >= LIVES_LONG_S:
        lasted_s = now_s - _seconds(started_at)
    return Listened(ready_at is not None, lasted_s)


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def why_not_ready(run: "Run", now_s: float, *, listens: bool | None, has_printed: bool) -> str:
    """For a run that lives. ``listens``: see above. ``has_printed``: at least one line. What has printed nothing, or a
    question, may read its input.
    """
    from brummer.instance.input_hints import asks, can_be_typed_to, how  # noqa: PLC0415 - no start needs it

    if run.state == "pending":
        return f"it waits for {', '.join(run.waits_for)}" if run.waits_for else "it waits to be started"
    age_s = round(now_s - _seconds(run.started_at))
    if run.script.ready:
        return f"what its `ready` setting names has not come true in {age_s} s"
    hint = ""
    if can_be_typed_to(run):
        hint = f"; {asks(run)}" if run.unfinished() else "" if has_printed else f"; if it waits for input, {how(run)}"
    if listens is False:
        return (
            f"it does not listen and has no `ready` setting, as in its last run of {LONG_S:g} s or more;"
            f" it has run for {age_s} s{hint}"
        )
    return f"it has not listened on a port in {age_s} s, and has no `ready` setting{hint}"
