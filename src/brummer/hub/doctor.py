"""``brum doctor``: check all that discovery needs, and report what is wrong and what to do about it."""

import asyncio
import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from brummer.core.errors import BrummerError
from brummer.discovery.directory import instances_directory
from brummer.discovery.registry import RESCAN_WITHOUT_HINTS_S, Registry
from brummer.host import clocks
from brummer.host.filesystems import filesystem_has_events, filesystem_name
from brummer.host.locks import holder_pid, is_locked
from brummer.host.pids import process_state
from brummer.host.ports import listeners

CheckVerdict = Literal["ok", "note", "wrong"]
PORTS = range(7777, 8000)


class Finding(msgspec.Struct, frozen=True):
    """The result of one check. ``advice`` is empty if there is nothing to do."""

    subject: str
    verdict: CheckVerdict
    detail: str
    advice: str = ""


async def examine(environ: Mapping[str, str], agents: Callable[[], list[str]]) -> list[Finding]:
    """All findings; a check comes after those that it depends on. ``agents``: names of the coding agents that have the
    hub in their settings; it may block.
    """
    try:
        directory = instances_directory(environ)
    except BrummerError as error:
        return [Finding("directory", "wrong", error.message, "set BRUMMER_INSTANCES_DIR to an absolute path")]
    findings = await asyncio.to_thread(lambda: list(_directory(directory)))
    if not any(finding.verdict == "wrong" for finding in findings):
        findings += await _records(directory)
        findings += await asyncio.to_thread(lambda: list(_locks(directory)))
    findings += await asyncio.to_thread(lambda: [*_clocks(), *_ports(directory), _agents(agents())])
    return findings


def _directory(directory: Path) -> Iterator[Finding]:
    try:
        status = directory.lstat()
    except FileNotFoundError:
        yield Finding("directory", "note", f"{directory} does not exist yet; the first instance makes it")
        return
    except OSError as error:
        yield Finding("directory", "wrong", f"{directory}: {error.strerror}", "make it readable, or choose another")
        return
    if not stat.S_ISDIR(status.st_mode):
        yield Finding("directory", "wrong", f"{directory} is not a directory", "remove it, or choose another")
        return
    yield from _directory_is_ours(directory, status)
    events = filesystem_has_events(directory)
    kind = f"{directory} is on {filesystem_name(directory)}"
    if events:
        yield Finding("file system", "ok", f"{kind}, which reports changes")
    else:
        advice = "set BRUMMER_INSTANCES_DIR to a local directory, for hubs and instances alike"
        how = f"which reports no changes: hubs scan it every {RESCAN_WITHOUT_HINTS_S:g} s"
        yield Finding("file system", "note", f"{kind}, {how}", advice)


def _directory_is_ours(directory: Path, status: os.stat_result) -> Iterator[Finding]:
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        yield Finding(
            "directory", "wrong", f"{directory} belongs to user {status.st_uid}", "remove it, or choose another"
        )
    elif mode & 0o077:
        yield Finding("directory", "wrong", f"{directory} is open to others ({mode:o})", f"chmod 700 {directory}")
    elif not os.access(directory, os.W_OK | os.X_OK):
        yield Finding("directory", "wrong", f"{directory} can't be written to", "mount it writable, or choose another")
    else:
        yield Finding("directory", "ok", f"{directory}, yours alone ({mode:o})")


async def _records(directory: Path) -> list[Finding]:
    """What a hub lists, and which files it refuses."""
    async with Registry(directory) as registry:
        await registry.scan()
        statistics, problems = registry.statistics(), registry.problems
        listed = registry.snapshot()
    findings = [Finding("watcher", "ok" if statistics.watch != "polling" else "note", f"by {statistics.watch}")]
    findings.append(Finding("instances", "ok", ", ".join(listed) or "none runs"))
    for code, count in Counter(problem.code for problem in problems).items():
        case = next(problem for problem in problems if problem.code == code)
        more = f" (and {count - 1} more like it)" if count > 1 else ""
        advice = "" if code == "newer_version" else "remove the file if it is not needed"
        findings.append(Finding("record", "wrong", f"{case.path}: {code}: {case.detail}{more}", advice))
    return findings


def _locks(directory: Path) -> Iterator[Finding]:
    if not directory.is_dir():
        return
    stuck = [path for path in sorted(directory.glob("*.lock")) if _is_stopped(holder_pid(path)) and is_locked(path)]
    for path in stuck:
        pid = holder_pid(path)
        yield Finding("lock", "wrong", f"{path.name} is held by process {pid}, which is stopped", f"kill -CONT {pid}")
    if not stuck:
        yield Finding("locks", "ok", "none is held by a stopped process")


def _is_stopped(pid: int | None) -> bool:
    state = process_state(pid) if pid else None
    return state is not None and state.state == "stopped"


def _clocks() -> Iterator[Finding]:
    """Two monotonic clocks distinguish a suspend from a pause: only one of them counts sleep."""
    slept_s = max(clocks.elapsed() - clocks.awake(), 0.0)
    yield Finding("clocks", "ok", f"awake and elapsed time are distinguished; asleep {slept_s:.0f} s since boot")


def _ports(directory: Path) -> Iterator[Finding]:
    pids = {_pid_of(path) for path in directory.glob("*.json")} if directory.is_dir() else set()
    taken = listeners(PORTS)
    strangers = {port: owner for port, owner in taken.items() if owner[0] not in pids}
    for port, (pid, name) in sorted(strangers.items()):
        owner = f"{name} (pid {pid})" if pid else "another user's process"
        yield Finding("port", "note", f"{port} is taken by {owner}; instances choose another")
    if not strangers:
        yield Finding("ports", "ok", f"{PORTS.start} to {PORTS.stop - 1}: taken by instances only ({len(taken)})")


def _pid_of(path: Path) -> int:
    try:
        return int(json.loads(path.read_bytes())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _agents(configured: list[str]) -> Finding:
    if configured:
        return Finding("agents", "ok", f"configured: {', '.join(configured)}")
    return Finding("agents", "note", "no agent is configured to use the hub", "see brum mcp-config")
