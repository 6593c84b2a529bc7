"""``brum --mcp``: the hub on stdio, or over HTTP."""

import contextlib
import os
from pathlib import Path

from brummer.cli import standard_streams
from brummer.cli.ports import port_of, user_token
from brummer.cli.protocol_stream import take
from brummer.host import loop
from brummer.hub import service
from brummer.settings.table import Flags
from brummer.wire.http.listening import Address, Port


def serve_stdio(flags: Flags, metrics: Address | None) -> int:
    """Serve until stdin ends, SIGTERM, or the end of the parent; returns the exit status."""
    stream = take()
    return loop.run(
        service.serve_stdio(
            stream.stdin,
            stream.stdout,
            stream.early_answer,
            os.environ,
            _working_directory(),
            flags=flags,
            metrics=port_of(metrics),
        )
    )


def serve_http(address: Address, flags: Flags, metrics: Address | None) -> int:
    """Serve until SIGTERM or Ctrl-C; prints the URL once the port is open. Raises TokenUnusable."""
    return loop.run(
        service.serve_http(
            Port(address, user_token),
            os.environ,
            _working_directory(),
            announce=_announce,
            flags=flags,
            metrics=port_of(metrics),
        )
    )


def _working_directory() -> Path:
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
