"""``brum status``: the answers of all running hubs, shown by `brummer.cli.status_page`."""

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.cli import options
from brummer.cli.colour import PLAIN, Paint
from brummer.cli.failed_scripts import FailedScript, FailedScripts, gist_of, lines_of
from brummer.cli.messages import print_json
from brummer.cli.running_hubs import RunningHubs, problem_of
from brummer.cli.status_page import ShownStatus, gist, page
from brummer.core import json_text
from brummer.core.visible import CLEAR
from brummer.discovery.directory import instances_directory
from brummer.host import loop
from brummer.host.directories import DirectoryUnusable, private_directory
from brummer.hub import status_socket

DETAILS: Final = "Scripts that have failed come first. Exit status 1 when no hub runs, or a hub has a problem."

WATCH_S: Final = 1.0

ARRIVE_S: Final = status_socket.RETURN_S + 0.3
"""Hubs do not create the directory. They open their sockets soon after this command has created it; hubs whose
directory was removed wait for `RETURN_S` first.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_json(parser, "print JSON: a list with the answer of hub_status of each hub")
    parser.add_argument("--watch", action="store_true", help="continue, and print again when something has changed")


def run(chosen: argparse.Namespace) -> int:
    paint = options.paint(chosen)
    try:
        return loop.run(show(instances_directory(os.environ), watch=chosen.watch, as_json=chosen.json, paint=paint))
    except DirectoryUnusable as error:  # then hubs have no socket elsewhere
        problem = problem_of(0, f"directory_{error.reason}", error.message)
        print_answers([problem], as_json=chosen.json, watching=False, paint=paint)
        return 1


async def show(directory: Path, *, watch: bool, as_json: bool, paint: Paint = PLAIN) -> int:
    """Print the status; returns the exit status. Raises DirectoryUnusable."""
    await _make_private(directory)
    scripts = FailedScripts(directory)
    async with contextlib.aclosing(RunningHubs(directory)) as hubs:
        with contextlib.closing(scripts):
            shown: object = None
            while True:
                answers, failed = await hubs.ask(), [] if as_json else await scripts.ask()
                if (news := (gist(map(as_status, answers)), gist_of(failed))) != shown:
                    print_answers(answers, failed, as_json=as_json, watching=watch, paint=paint)
                    shown = news
                if not watch:
                    break
                await asyncio.sleep(WATCH_S)
    return 0 if answers and all(as_status(answer).is_healthy for answer in answers) else 1


async def _make_private(directory: Path) -> None:
    """Make sure that no other user can put sockets there. Raises DirectoryUnusable."""
    try:
        await asyncio.to_thread(private_directory, directory, create=False)
    except DirectoryUnusable as error:
        if error.reason != "missing":
            raise
        await asyncio.to_thread(private_directory, directory)
        await asyncio.sleep(ARRIVE_S)


def as_status(answer: dict[str, Any]) -> ShownStatus:
    """The answer; unknown fields are ignored, and an answer of another shape becomes a problem."""
    try:
        return msgspec.convert(answer, ShownStatus)
    except msgspec.ValidationError as error:
        pid = answer["hub"]["pid"]
        detail = f"this version does not understand the answer of hub {pid}: {error}"
        return msgspec.convert(problem_of(pid, "not_understood", detail), ShownStatus)


def print_answers(
    answers: list[dict[str, Any]],
    failed: Sequence[FailedScript] = (),
    *,
    as_json: bool,
    watching: bool,
    paint: Paint = PLAIN,
) -> None:
    """Print the scripts that have failed and the page, or JSON: on one line if ``watching``."""
    if as_json and not watching:
        print_json(answers)
    elif as_json:
        print(json_text.encode(answers).decode(), flush=True)
    else:
        now = datetime.now().astimezone()
        if watching:
            print(CLEAR, end="") if sys.stdout.isatty() else print(f"--- {now:%H:%M:%S}")
        if failed:
            print(*lines_of(failed, now, paint), "", sep="\n")
        print(page([as_status(answer) for answer in answers], now, paint), flush=True)
