"""``brum web``: the page of all projects, for a browser on this machine."""

import argparse
import asyncio
import os
import signal
from typing import Final

from brummer.cli import options, standard_streams
from brummer.cli.commands.hub import start_instance, working_directory
from brummer.cli.messages import say_later
from brummer.host import loop

DETAILS: Final = (
    "The address works once, for ten minutes; run the command again for a further one. Only this machine reaches the"
    " page: from another one, use ssh -L. It ends with Ctrl-C, and every script runs on."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-p", "--port", type=options.port, help="port on 127.0.0.1 (default: the last one, else any)")


def run(chosen: argparse.Namespace) -> int:
    return loop.run(serve(chosen.port))


async def serve(port: int | None) -> int:
    """Serve the page until SIGTERM or Ctrl-C; if another process serves it, only print a new address.

    Returns the exit status. Raises NotServed, PageUnreachable, DirectoryUnusable.
    """
    from brummer.hub.service import running_hub
    from brummer.hub.transports import ending_on_signals
    from brummer.views.web.server import serving_page

    ended = asyncio.Event()
    async with (
        running_hub(os.environ, working_directory(), start=start_instance) as hub,
        serving_page(hub, port) as page,
    ):
        _print_address(await page.new_address())
        if page.server_pid is not None:
            say_later(f"process {page.server_pid} serves the page already")
            return 0
        with ending_on_signals(ended.set, also=(signal.SIGINT,)):
            await ended.wait()
    return 0


def _print_address(address: str) -> None:
    print(address, flush=True)
    standard_streams.finish()
