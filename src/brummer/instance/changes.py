"""The changes of this instance's runs, as a bounded numbered log, and the wait for one."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import UNSET, UnsetType

from brummer.core.events import Hook
from brummer.instance.run import ProcessStatus, Run
from brummer.logs.bounded_log import BoundedLog

if TYPE_CHECKING:
    from brummer.logs.error_groups import ErrorGroup

MAX_CHANGES = 1_000

Kind = Literal["started", "url", "ready", "error", "exited", "failed", "crash-looping", "stopped"]


class Change(msgspec.Struct, frozen=True):
    """One event of one run. ``started`` has pid; ``url`` and ``ready`` have urls; the ends have exit_code and signal,
    the reason in words, the source of a requested stop, and the seconds until an automatic restart; ``failed`` and
    ``crash-looping`` also have the first error that was printed, and those of the last lines that are part of none.
    ``by``: who asked for a start or a stop, in words.

    ``error`` is one that was printed: its title, place (FILE:LINE), number of appearances and text, and the number of
    its first line.
    """

    n: int
    at: str
    kind: Kind
    process: str
    process_id: str
    pid: int | UnsetType = UNSET
    urls: list[str] | UnsetType = UNSET
    exit_code: int | UnsetType | None = UNSET
    signal: str | UnsetType | None = UNSET
    reason: str | UnsetType = UNSET
    stop_asked_by: str | UnsetType = UNSET
    by: str | UnsetType = UNSET
    next_restart_s: float | UnsetType = UNSET
    last_lines: list[str] | UnsetType = UNSET
    first_error: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    where: str | UnsetType = UNSET
    count: int | UnsetType = UNSET
    lines: list[str] | UnsetType = UNSET
    first_n: int | UnsetType = UNSET


class Published(msgspec.Struct, frozen=True):
    """A change, its run, and the facts of the run after it."""

    change: Change
    run: Run
    status: ProcessStatus


class Changes:
    """The log, and its listeners."""

    def __init__(self, generation: str, max_changes: int = MAX_CHANGES) -> None:
        self.log: BoundedLog[Change] = BoundedLog(generation, max_changes)
        self.log.kind = "change_n"
        self._hook: Hook[Published] = Hook()

    def __repr__(self) -> str:
        return f"<Changes {self.log!r}, {self._hook.subscribers} listeners>"

    def listen(self, listener: Callable[[Published], object]) -> Callable[[], None]:
        """Call it after each change, when the run is already in its new state; returns what ends that."""
        return self._hook.subscribe(listener)

    def publish(
        self,
        kind: Kind,
        run: Run,
        at: str,
        *,
        urls: list[str] | UnsetType = UNSET,
        last_lines: list[str] | UnsetType = UNSET,
        error: "ErrorGroup | None" = None,
    ) -> Published:
        """Add a change to the log, its facts taken from the run, and call the listeners."""
        status = run.status()
        has_ended = run.has_ended and error is None
        change = Change(
            n=self.log.last_n + 1,
            at=at,
            kind=kind,
            process=run.name,
            process_id=run.process_id,
            pid=status.pid if kind == "started" and status.pid else UNSET,
            urls=urls,
            exit_code=status.exit_code if has_ended else UNSET,
            signal=status.signal if has_ended else UNSET,
            reason=UNSET if error else status.reason,
            stop_asked_by=status.stop_asked_by,
            by=(run.surroundings.by if kind == "started" else run.stopped_by if has_ended else None) or UNSET,
            next_restart_s=run.successor.next_restart_s if run.successor and error is None else UNSET,
            last_lines=last_lines,
            first_error=_first_error(run, status) if kind in {"failed", "crash-looping"} else UNSET,
            title=error.title if error else UNSET,
            where=error.where or UNSET if error else UNSET,
            count=error.count if error else UNSET,
            lines=error.excerpt if error else UNSET,
            first_n=error.first_n if error else UNSET,
        )
        self.log.append(change)
        published = Published(change, run, status)
        self._hook.publish(published)
        return published

    async def until(self, condition: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Wait until it holds; it is checked now and after each change. False at the timeout."""
        if condition():
            return True
        holds = asyncio.Event()
        stop_listening = self.listen(lambda _: holds.set() if condition() else None)
        try:
            async with asyncio.timeout(timeout_s):
                return await holds.wait()
        except TimeoutError:
            return False
        finally:
            stop_listening()


def _first_error(run: Run, status: ProcessStatus) -> str | UnsetType:
    """That of the crash loop, or else of the run, where the reason does not say it."""
    return run.first_error or (run.first_printed_error or UNSET if status.errors else UNSET)
