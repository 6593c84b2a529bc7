"""``brum bridge``: what a hub on another machine starts here over SSH."""

import argparse
import os
from typing import Final

from brummer.host import loop

DETAILS: Final = (
    "A hub runs it over SSH for brum --mcp --server NAME=ssh://HOST; nobody types it. It prints the instances that run"
    " here, with their tokens, one JSON line whenever they change, and ends with its input."
)

STDIN: Final = 0
STDOUT: Final = 1


def add_options(parser: argparse.ArgumentParser) -> None:
    """It has no further ones."""


def run(_: argparse.Namespace) -> int:
    from brummer.fleet import bridge

    return loop.run(bridge.serve(os.environ, stdin=STDIN, stdout=STDOUT))
