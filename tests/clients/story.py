"""The steps of every client, and the report that it prints. Runs with the Python of the client: standard library only.

    NAME_client.py WAY      WAY: JSON with url and headers, or command, args, env and cwd; project and slow_script

A driver gives `run` one function that opens a session of its client. Standard output carries a line ``RESTART`` when
the hub is to be restarted, which the runner answers with a line on standard input, and the report as the last line.
"""

import asyncio
import json
import re
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

TRIES: Final = 6
"""Tries of a call to a server that needs 12 s, when the client gives up after 5 s: three are enough."""

LIMIT_S: Final = 45.0
"""The time limit of each step: more than the 30 s that `scripts_run` waits by default."""

PATIENT: Final = {"process": "dev", "ready": True, "timeout_s": 4}


class Client(Protocol):
    """One open session of a client."""

    async def tools(self) -> list[str]:
        """The names of the tools that it accepted from the server."""

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """The text of the answer. Raises the exceptions of the client."""


Connect = Callable[[dict[str, Any]], AbstractAsyncContextManager[Client]]
Work = Callable[[Client, dict[str, Any], dict[str, Any]], Awaitable[None]]


def calls(project: str) -> list[tuple[str, dict[str, Any], str]]:
    """Each of the sixteen tools once, with a word that its answer must contain."""
    return [
        ("instances_list", {}, project),
        ("instances_connect", {"instance": project}, project),
        ("scripts_list", {}, "dev"),
        ("scripts_run", {"name": "dev"}, "dev-1 ready"),
        ("scripts_status", {"name": "dev"}, "dev-1 ready"),
        ("wait_for", PATIENT, "ready"),
        ("logs_tail", {"process": "dev", "since": "5m", "limit": 20}, "ready on http"),
        ("logs_search", {"query": "ready on", "around": 1}, "ready on http"),
        ("changes_since", {"limit": 50}, "dev"),
        ("scripts_restart", {"name": "dev"}, "dev-2 ready"),
        ("scripts_stop", {"name": "dev"}, "stopped"),
        ("hub_status", {}, project),
        ("instance_tools", {"instance": project}, "scripts_status"),
        ("instance_call", {"instance": project, "tool": "scripts_list", "arguments": {}}, "dev"),
        ("view_open", {}, "http://127.0.0.1:"),
        ("instances_disconnect", {}, "disconnected"),
    ]


def slow_is_ready(way: dict[str, Any]) -> str:
    """Not only the word: an answer may also say that it is not ready."""
    return f"{way['slow_script']}-1 ready"


def run(connect: Connect) -> None:
    """All steps, over the front that the first argument names."""
    way = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(_story(connect, way))), flush=True)


async def _story(connect: Connect, way: dict[str, Any]) -> dict[str, Any]:
    report: dict[str, Any] = {"calls": {}, "slow": [], "ended_early": {}}
    sessions = {"first": _calls, "restarted": _restart, "next": _next}
    for name, work in sessions.items():
        await _session(connect, way, report, name, work)
    return report


async def _session(connect: Connect, way: dict[str, Any], report: dict[str, Any], name: str, work: Work) -> None:
    """One session from its opening to its end. An error after the last step, when the client closes, is not a fault."""
    finished = False
    try:
        async with connect(way) as client:
            await work(client, way, report)
            finished = True
    except BaseException as error:  # noqa: BLE001 - clients raise groups of cancellations, too
        if not finished:
            report["ended_early"][name] = _words(error)


async def _calls(client: Client, way: dict[str, Any], report: dict[str, Any]) -> None:
    """List the tools, call each, and start the slow server."""
    report["tools"] = await client.tools()
    for tool, arguments, word in calls(way["project"]):
        report["calls"][tool] = await _attempt(client, tool, arguments, word)
    while len(report["slow"]) < TRIES and not (report["slow"] and report["slow"][-1]["ok"]):
        report["slow"].append(await _attempt(client, "scripts_run", {"name": way["slow_script"]}, slow_is_ready(way)))


async def _restart(client: Client, way: dict[str, Any], report: dict[str, Any]) -> None:
    """Call once before and once after the hub was restarted."""
    await _look(client, way, report, "before")
    print("RESTART", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await _look(client, way, report, "same")


async def _next(client: Client, way: dict[str, Any], report: dict[str, Any]) -> None:
    await _look(client, way, report, "next")


async def _look(client: Client, way: dict[str, Any], report: dict[str, Any], when: str) -> None:
    """Wait until the slow server runs; hubs and sessions may have ended."""
    arguments = {"instance": way["project"], "name": way["slow_script"]}
    report[when] = await _attempt(client, "scripts_status", arguments, slow_is_ready(way))


async def _attempt(client: Client, tool: str, arguments: dict[str, Any], word: str) -> dict[str, Any]:
    try:
        async with asyncio.timeout(LIMIT_S):
            said = await client.call(tool, dict(arguments))
    except Exception as error:  # noqa: BLE001 - each client has its own
        return {"ok": False, "said": _words(error)}
    return {"ok": bool(re.search(rf"\b{word}\b", said)), "said": said[:600]}


def _words(error: BaseException) -> str:
    """The last line of each error of a group."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return "".join(traceback.format_exception_only(error)).strip()[:600]
