"""Long tasks are started again, and a failure is a problem until the task has recovered."""

import asyncio
import contextlib
import errno
from collections.abc import Coroutine
from typing import Any

import pytest

from brummer.core.errors import BrummerError
from brummer.core.supervisor import CALM_S, STABLE_S, TASK_BASE_S, TASK_CAP_S, Supervisor
from brummer.testing.virtual_time import VirtualLoop


def in_virtual_time(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main)


class Work:
    """Raises what it is given, in turn, and then runs until it is cancelled. ``began_s``: when it was started."""

    def __init__(self, *errors: BaseException | None) -> None:
        self._errors = list(errors)
        self.began_s: list[float] = []
        self.runs = asyncio.Event()

    async def __call__(self) -> None:
        self.began_s.append(asyncio.get_running_loop().time())
        if not self._errors:
            self.runs.set()
            await asyncio.Event().wait()
        if (error := self._errors.pop(0)) is not None:
            raise error


@pytest.mark.promise("long-tasks-are-supervised")
def test_a_task_that_fails_is_started_again_after_pauses_that_double() -> None:
    async def main() -> None:
        supervisor, work = Supervisor(), Work(OSError(errno.EMFILE, "too many"), ValueError("odd"), KeyError("x"))
        supervisor.start("watch", work)
        await work.runs.wait()
        pauses = [round(after - before, 3) for before, after in zip(work.began_s, work.began_s[1:], strict=False)]
        assert pauses == [TASK_BASE_S, 2 * TASK_BASE_S, 4 * TASK_BASE_S]
        await supervisor.close()

    in_virtual_time(main())


def test_the_pause_has_a_cap_and_begins_anew_after_a_long_run() -> None:
    async def main() -> None:
        supervisor, work = Supervisor(), Work(*[OSError(errno.EIO, "broken")] * 12)
        task = supervisor.start("watch", work)
        await work.runs.wait()
        assert round(work.began_s[-1] - work.began_s[-2], 3) == TASK_CAP_S
        task.cancel()
        runs_long = Work(None)

        async def long_then_fails() -> None:
            await asyncio.sleep(STABLE_S)
            await runs_long()

        supervisor.start("other", long_then_fails)
        await runs_long.runs.wait()
        assert round(runs_long.began_s[1] - runs_long.began_s[0] - STABLE_S, 3) == TASK_BASE_S
        await supervisor.close()

    in_virtual_time(main())


@pytest.mark.parametrize("ends", [None, asyncio.CancelledError()], ids=["it returns", "what it awaits is cancelled"])
def test_a_task_that_ends_by_itself_has_failed_too(ends: BaseException | None) -> None:
    async def main() -> None:
        supervisor, work = Supervisor(), Work(ends)
        supervisor.start("watch", work)
        await work.runs.wait()
        [failure] = supervisor.failures()
        assert (failure.name, failure.code, failure.count) == ("watch", "task_failed", 1)
        await supervisor.close()

    in_virtual_time(main())


@pytest.mark.promise("long-tasks-are-supervised")
def test_a_failure_is_a_problem_until_the_task_has_run_well_for_a_while() -> None:
    class Gone(BrummerError):
        code = "gone_for_now"

    async def main() -> None:
        supervisor, work = Supervisor(), Work(Gone("not there"), Gone("still not there"))
        supervisor.start("watch", work)
        await work.runs.wait()
        [failure] = supervisor.failures()
        assert (failure.code, failure.detail, failure.count) == ("gone_for_now", "still not there", 2)
        await asyncio.sleep(CALM_S)
        assert supervisor.failures() == []
        await supervisor.close()

    in_virtual_time(main())


def test_a_task_that_may_end_is_started_again_only_when_it_has_failed() -> None:
    async def main() -> None:
        supervisor, work = Supervisor(), Work(OSError(errno.ENOMEM, "no memory"), None)
        await supervisor.start("readiness", work, may_end=True)
        assert len(work.began_s) == 2
        await supervisor.close()

    in_virtual_time(main())


def test_a_callback_that_raises_is_a_problem_too() -> None:
    async def main() -> None:
        supervisor = Supervisor()

        def fails() -> None:
            raise OSError(errno.EMFILE, "too many open files")

        asyncio.get_running_loop().call_soon(fails)
        await asyncio.sleep(1)
        [failure] = supervisor.failures()
        assert failure.code == "task_failed"
        assert "too many open files" in failure.detail
        await supervisor.close()

    in_virtual_time(main())


def test_many_objects_whose_callbacks_raise_are_one_problem_that_names_no_argument() -> None:
    async def main() -> None:
        supervisor = Supervisor()

        def fails(secret: str) -> None:
            raise ValueError("odd")

        for number in range(50):
            asyncio.get_running_loop().call_soon(fails, f"token-{number}")
        await asyncio.sleep(1)
        [failure] = supervisor.failures()
        assert failure.count == 50
        assert "token" not in failure.name
        await supervisor.close()

    in_virtual_time(main())


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "no descriptor"), None], ids=["another error", "an end"])
def test_a_task_that_replaces_its_cancellation_by_another_result_ends(error: OSError | None) -> None:
    async def main() -> None:
        async def cleans_up() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            if error is not None:
                raise error

        supervisor = Supervisor()
        supervisor.start("watch", cleans_up)
        await asyncio.sleep(1)
        async with asyncio.timeout(10 * TASK_CAP_S):
            await supervisor.close()
        assert supervisor.failures() == []

    in_virtual_time(main())


def test_closing_ends_a_task_in_any_state() -> None:
    async def main() -> None:
        supervisor, work = Supervisor(), Work(*[OSError(errno.EIO, "broken")] * 100)
        waits, runs = supervisor.start("waits", work), supervisor.start("runs", Work())
        await asyncio.sleep(1)
        await supervisor.close()
        assert waits.done()
        assert runs.done()

    in_virtual_time(main())
