"""``brum --mcp``: the hub on stdio, or over HTTP."""

import os
from pathlib import Path

from brummer.cli.stream import take
from brummer.core.settings import Flags
from brummer.host import loop
from brummer.hub import service
from brummer.wire.metrics_front import Address


def serve_stdio(flags: Flags, metrics: Address | None) -> int:
    """Serve until stdin ends, SIGTERM, or the parent's death; returns the exit status."""
    stream = take()
    return loop.run(
        service.serve_stdio(
            stream.stdin, stream.stdout, stream.greeting, os.environ, Path.cwd(), flags=flags, metrics=metrics
        )
    )


def serve_http(host: str, port: int, flags: Flags, metrics: Address | None) -> int:
    """Serve until SIGTERM or Ctrl-C; the URL is printed once the port is open."""
    return loop.run(
        service.serve_http((host, port), os.environ, Path.cwd(), announce=_announce, flags=flags, metrics=metrics)
    )


def _announce(url: str) -> None:
    print(f"brum: MCP over HTTP at {url}", flush=True)
