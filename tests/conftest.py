"""What every test must leave behind: nothing.

A test fails when it warns (pyproject.toml), when a task or a process it started outlives it, and when code
of `brummer` blocks the event loop, even if the error that this raises was caught on its way. Where
BRUMMER_CI=1 a skipped test fails too, unless its reason begins with "platform:", because a check that never
ran proves nothing.

tests/unit/test_harness.py shows each of these guards firing. This file imports nothing of its neighbours, so
that it can be tried elsewhere.
"""

import asyncio
import os
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from typing import TypeVar

import blockbuster
import hypothesis
import psutil
import pytest
from blockbuster.blockbuster import BlockBusterFunction
from pytest_asyncio import is_async_test

# Inherited by every process a test starts, so that one whose parent is dead is still known for ours.
MARK = "BRUMMER_TEST_RUN"

# A process that has been told to stop, and a task that has been cancelled, may need a moment to be gone.
PROCESS_GRACE_S = 0.25
TASK_GRACE_TURNS = 5

STRICT_SKIPS = os.environ.get("BRUMMER_CI") == "1"
ALLOWED_SKIP = "platform:"

# Blocking calls that are right where they stand, each with its reason: (call, end of path, function).
MAY_BLOCK: tuple[tuple[str, str, str], ...] = (
    # Waits 1 ms for the program to be loaded, holding the interpreter's lock: a thread would not help.
    ("os.read", "subprocess.py", "_execute_child"),
    # The log as pytest's own handlers keep it; ours is written by a thread.
    ("io.TextIOWrapper.write", "logging/__init__.py", "emit"),
)

# Short calls on files of ours: the guard's program, under /proc, and in the instances directory, which is local (where
# it is not, the registry uses a thread) and mostly in memory. (end of path, functions)
MAY_USE_FILES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("brummer/host/interfaces.py", ("_default_interface",)),
    ("brummer/host/control_groups.py", ("is_frozen", "_read")),
    ("brummer/host/memory.py", ("resident_bytes",)),
    (
        "brummer/host/pids.py",
        (
            *("stat_fields", "_pid_namespace", "_boot_id", "_time_namespace", "network_namespace"),
            "_proc_shows_our_namespace",
        ),
    ),
    ("brummer/host/locks.py", ("try_acquire", "is_locked", "_is_at")),
    ("brummer/host/directory_watch.py", ("_rearm", "verify")),
    ("brummer/process/guard.py", ("_spawn",)),
    # A command of a person has its loop to itself.
    ("brummer/cli/project.py", ("find", "left_behind")),
    ("brummer/cli/background.py", ("_published",)),
    ("brummer/cli/commands/down.py", ("_end_holder",)),
    ("brummer/discovery/registry.py", ("_scan_directory",)),
    ("brummer/discovery/roster.py", ("_end",)),
    ("brummer/discovery/registrar.py", ("acquire", "describe_self", "_is_intact", "publish", "unpublish")),
)

_blocked: list[str] = []

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


class RecordedBlockingError(blockbuster.BlockingError):
    """Remembers that it was raised: the code under test may well catch every exception there is."""

    def __init__(self, call: str) -> None:
        super().__init__(call)
        ours = [line for line in traceback.extract_stack() if f"{os.sep}brummer{os.sep}" in line.filename]
        where = f"{ours[-1].filename}:{ours[-1].lineno} in {ours[-1].name}" if ours else "brummer"
        _blocked.append(f"{call} from {where}")


def pytest_configure(config: pytest.Config) -> None:
    # Time measured on a busy machine proves nothing, neither of one example nor of how long it takes to make one.
    slow = hypothesis.HealthCheck.too_slow
    hypothesis.settings.register_profile("brummer", deadline=None, suppress_health_check=[slow])
    hypothesis.settings.load_profile("brummer")
    os.environ[MARK] = f"{os.environ.get(MARK, '')}/{uuid.uuid4().hex}"
    # Not in a fixture: patching built-in types takes longer than most tests here.
    blockbuster.blockbuster.BlockingError = RecordedBlockingError  # type: ignore[assignment,misc]
    guard = blockbuster.BlockBuster("brummer")
    guard.functions["os.fsync"] = BlockBusterFunction(None, "os.fsync", scanned_modules="brummer")
    # Patched, it crashes the interpreter at its end; text written passes io.TextIOWrapper.write anyway.
    del guard.functions["io.BufferedWriter.write"]
    for call, file, function in MAY_BLOCK:
        guard.functions[call].can_block_in(file, function)
    for call, guarded in guard.functions.items():
        for file, functions in MAY_USE_FILES if call.startswith(("os.", "io.")) else ():
            for function in functions:
                guarded.can_block_in(file, function)
    guard.activate()
    config.add_cleanup(guard.deactivate)


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    if is_async_test(request.node):
        request.getfixturevalue("no_task_left_behind")
    _blocked.clear()
    before = set(psutil.pids())
    yield
    left = _processes_since(before)
    complaints = [f"blocked the event loop: {call}" for call in _blocked]
    complaints += [f"left a process running: {process}" for process in left]
    for process in left:
        process.kill()
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


@pytest.fixture
async def no_task_left_behind() -> AsyncIterator[None]:
    yield
    for _ in range(TASK_GRACE_TURNS):
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    complaints = [f"left a task running: {task!r}" for task in left]
    for task in left:
        task.cancel()
    if complaints:
        await asyncio.wait(left, timeout=1)
        pytest.fail("\n".join(complaints), pytrace=False)


def _processes_since(before: set[int]) -> list[psutil.Process]:
    """Our processes that were not there `before`, after those that are on their way out have gone."""
    left = [process for pid in set(psutil.pids()) - before if (process := _ours(pid, before))]
    deadline = time.monotonic() + PROCESS_GRACE_S
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = [process for process in left if _is_alive(process)]
    return left


def _ours(pid: int, before: set[int]) -> psutil.Process | None:
    """What a program has started that several tests share, such as a browser, is that program's."""
    try:
        process = psutil.Process(pid)
        if not _is_alive(process):
            return None
        parents = [parent.pid for parent in process.parents()]
        if os.getpid() in parents:
            return None if before.intersection(parents[: parents.index(os.getpid())]) else process
        return process if process.environ().get(MARK, "").startswith(os.environ[MARK]) else None
    except psutil.Error:
        return None  # gone meanwhile, or somebody else's


def _is_alive(process: psutil.Process) -> bool:
    """Not a zombie: waiting for a dead orphan is up to init, and some containers have one that never does."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _without_quiet_skip((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _without_quiet_skip((yield))


def _without_quiet_skip(report: Report) -> Report:
    if STRICT_SKIPS and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        # A skip is reported as (file, line, reason).
        reason = str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if not reason.startswith(ALLOWED_SKIP):
            report.outcome = "failed"
            report.longrepr = f"skipped where it should run: {reason}"
    return report
