"""Makes calls over one link: with a callback (the fast path), or for a task that waits (the slow path).

Both paths drive the same `CallRun`. Nearly every call takes the fast one: its link is ready and a connection is idle,
so it is sent on the spot, and the answer goes out in the turn of the loop in which it came in. A task, and what waits
in it, would be a third of what a call costs us.
"""

import asyncio
import itertools
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from brummer.calls import refusals
from brummer.calls.call_run import CallRun, Substitute
from brummer.calls.cancellations import Cancellations
from brummer.calls.deadlines import Deadlines
from brummer.calls.outcomes import CallEnded, ending_of
from brummer.core.errors import BrummerError
from brummer.core.events import Hook
from brummer.link.call import Call
from brummer.link.link import Link
from brummer.link.state import State
from brummer.wire.mcp.tools import failed

_next_key: Callable[[], str] = map(f"{secrets.token_hex(6)}-{{}}".format, itertools.count(1)).__next__


class Caller:
    """One per link; any number of calls at a time."""

    has_fast_path: ClassVar[bool] = True
    next_key = staticmethod(_next_key)
    """Makes a key for one call, in logs and in the ledger of its instance."""

    def __init__(
        self, link: Link, is_cut_off: Callable[[], bool] = lambda: False, ended: Hook[CallEnded] | None = None
    ) -> None:
        """``is_cut_off``: all links seem to fail, so the fault is rather ours, and no instance is blamed.

        ``ended`` publishes the end of every call.
        """
        self.link = link
        self.loop = asyncio.get_running_loop()
        self._is_cut_off = is_cut_off
        self.ended: Hook[CallEnded] = ended or Hook()
        self.cancellations = Cancellations(link)
        self.deadlines: Deadlines[CallRun] = Deadlines(self.loop)
        """Of all runs that have one."""
        self._tasks: dict[asyncio.Task[Any], None] = {}
        link.on_gone = self._fail_hopeless

    async def close(self) -> None:
        """Every call ends with an error."""
        for run in self.deadlines.all():
            run.on_hopeless(refusals.gone(self.link))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.deadlines.close()
        await self.cancellations.close()
        self.link.connections.end()

    @property
    def is_waited_for(self) -> bool:
        """A call waits for its answer, for the link, or for a substitute of its instance."""
        return len(self.deadlines) > 0 or bool(self._tasks)

    def fast_path(
        self, call: Call, on_result: Callable[[bytes], object], substitute: Substitute | None = None
    ) -> CallRun | None:
        """Make the call without a task. None: it was not begun, because the link is not ready, or not to an instance.

        ``on_result`` gets the result, after this returns, unless the call is cancelled; an error is a result, too.
        """
        link = self.link
        if link.state is not State.READY or not link.target.is_direct or not self.has_fast_path:
            return None
        call.key = self.next_key()
        run = CallRun(self, call, on_result, lambda error: on_result(failed(error)), substitute)
        run.start()
        return run

    async def call(self, call: Call, substitute: Substitute | None = None) -> bytes:
        """Make the call; returns the encoded result object. Raises `BrummerError`."""
        answered: asyncio.Future[bytes] = self.loop.create_future()

        def on_result(result: bytes) -> None:
            if not answered.done():
                answered.set_result(result)

        def on_error(error: BrummerError) -> None:
            if not answered.done():
                answered.set_exception(error)

        call.key = self.next_key()
        run = CallRun(self, call, on_result, on_error, substitute)
        run.start()
        try:
            return await answered
        except asyncio.CancelledError as error:
            run.cancel(*error.args)
            raise

    # What runs share.

    def run(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """A task for a part of a call; it ends with us."""
        task = self.loop.create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    def tell(self, call: Call, outcome: bytes | BrummerError | None) -> None:
        """The call has ended. None: it was cancelled."""
        target = self.link.target
        ending, code = ending_of(call, outcome, ours=target.has_ledger)
        took_s = self.loop.time() - call.started_s
        tool = call.params.get("name", call.method)
        self.ended.publish(CallEnded(target.instance_id, tool, call.key, ending, code, took_s))

    def count_failure(self) -> None:
        """Only what a link that is not ready did to a call counts: a tool that is slow breaks nothing.

        Nor does what overlaps a sleep, or happens to all links at once.
        """
        link = self.link
        if link.state is not State.READY and not link.is_settling and not self._is_cut_off():
            link.breaker.failed(self.loop.time())

    def hopeless(self, call: Call) -> BrummerError | None:
        """Why a call need not wait for an instance that is gone; None when another run of it can answer."""
        if call.must_not_be_resent:
            return refusals.outcome_unknown(self.link, call)
        return None if call.waits_for_return else refusals.gone(self.link)

    def _fail_hopeless(self) -> None:
        """The run that could have told is over, so calls that wait to ask it fail now, not when their wait is over."""
        self.link.parking.fail(self.hopeless)
