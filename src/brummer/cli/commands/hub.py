"""``brum --mcp``: the hub on stdio, or over HTTP."""

import argparse
import contextlib
import os
from pathlib import Path

from brummer.cli import standard_streams
from brummer.cli.ports import port_of, user_token
from brummer.cli.protocol_stream import take
from brummer.host import loop
from brummer.hub import transports
from brummer.hub.finder import Started
from brummer.hub.service import Hub
from brummer.hub.shown_page import BrowserPage
from brummer.settings.table import Flags
from brummer.wire.http.listening import Port


def run(chosen: argparse.Namespace, flags: Flags) -> int:
    """Serve until stdin ends, SIGTERM, or the end of the parent; over HTTP until SIGTERM or Ctrl-C.

    Returns the exit status. Raises TokenUnusable.
    """
    place, metrics = working_directory(), port_of(chosen.metrics)
    if chosen.http is None:
        stdin, stdout, early_answer = take()
        hub = transports.serve_stdio(
            stdin,
            stdout,
            early_answer,
            os.environ,
            place,
            flags=flags,
            metrics=metrics,
            start=start_instance,
            make_page=make_page,
        )
    else:
        port = Port(chosen.http, user_token)
        hub = transports.serve_http(
            port,
            os.environ,
            place,
            announce=_announce,
            flags=flags,
            metrics=metrics,
            start=start_instance,
            make_page=make_page,
        )
    return loop.run(hub)


async def start_instance(place: Path, client: str) -> Started:
    """Start an instance there. Loaded when a client of the hub needs it first."""
    from brummer.cli.agent_start import start_for_agent

    return await start_for_agent(place, client)


def make_page(hub: Hub) -> BrowserPage:
    """The page of this hub. Loaded when a client of the hub needs it first."""
    from brummer.views.web.page_of_hub import PageOfHub

    return PageOfHub(hub)


def working_directory() -> Path:
    """The current directory. If it was removed meanwhile, only the shell's variable has its path."""
    try:
        return Path.cwd()
    except OSError:
        remembered = os.environ.get("PWD", "")
        return Path(remembered if os.path.isabs(remembered) else os.sep)  # noqa: PTH117 — no path yet


def _announce(url: str) -> None:
    """Serve also if standard output can't be written, for example a pipe without a reader."""
    with contextlib.suppress(OSError):
        print(f"brum: MCP over HTTP at {url}")
    standard_streams.finish()
