"""``brum mcp-config``: the configuration of each coding agent, ready to paste."""

import argparse
import os
import shlex
import shutil
import sys
from typing import Any, Final, NamedTuple

from brummer.cli import options
from brummer.core import json_text
from brummer.wire.http.listening import Address

HTTP_ADDRESS: Final[Address] = ("127.0.0.1", 7700)
"""The address in the documentation; a hub over HTTP has no default port."""

DETAILS: Final = ""


class JsonClient(NamedTuple):
    """An agent with a JSON file; ``member`` holds its servers, which have a ``type`` if it ``has_types``."""

    title: str
    member: str
    has_types: bool = False

    def shown(self, server: dict[str, Any], kind: str) -> str:
        typed = {"type": kind, **server} if self.has_types else server
        return f"{self.title}:\n\n{json_text.indented({self.member: {'brummer': typed}})}"


JSON_CLIENTS: Final = {
    "cursor": JsonClient("Cursor, in ~/.cursor/mcp.json", "mcpServers"),
    "vscode": JsonClient("VS Code, in .vscode/mcp.json", "servers", has_types=True),
    "claude-desktop": JsonClient("Claude Desktop, in claude_desktop_config.json", "mcpServers"),
}
CLIENTS: Final = ("claude-code", *JSON_CLIENTS)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("client", nargs="?", choices=CLIENTS, help="default: all of them")
    parser.add_argument(
        "--http",
        type=_address_or_client,
        nargs="?",
        const=HTTP_ADDRESS,
        metavar="HOST:PORT",
        help="for a hub over HTTP, with the token that it requires; default: 127.0.0.1:7700",
    )


def _address_or_client(given: str) -> Address | str:
    """The option takes the next word, so ``--http CLIENT`` gives it a client."""
    return given if given in CLIENTS else options.address(given)


def run(chosen: argparse.Namespace) -> int:
    client, address = chosen.client, chosen.http
    if isinstance(address, str):
        client, address = address, HTTP_ADDRESS
    print(text_for_http(client, address) if address else text(client))
    return 0


def text(client: str | None) -> str:
    """How one of `CLIENTS`, or each of them, starts a hub of its own."""
    program, *arguments = command = [*_command(), "--mcp"]
    server = {"command": program, "args": arguments}
    shown = {
        "claude-code": _claude_code(f"brummer -- {shlex.join(command)}"),
        **{name: each.shown(server, "stdio") for name, each in JSON_CLIENTS.items()},
    }
    return "\n\n".join([shown[client]] if client else shown.values())


def text_for_http(client: str | None, address: Address) -> str:
    """How one of `CLIENTS`, or each of them, reaches a hub that serves HTTP at this address. Raises TokenUnusable."""
    from brummer.cli.ports import user_token

    host, port = address
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    url, authorization = f"http://{authority}/mcp", f"Bearer {user_token()}"
    header = shlex.quote(f"Authorization: {authorization}")
    server = {"url": url, "headers": {"Authorization": authorization}}
    shown = {
        "claude-code": _claude_code(f"--transport http brummer {url} --header {header}"),
        **{name: each.shown(server, "http") for name, each in JSON_CLIENTS.items()},
        "claude-desktop": "Claude Desktop starts its servers itself: see brum mcp-config claude-desktop",
    }
    hub = (
        f"The hub, which must run before its clients:\n\n    {shlex.join([*_command(), '--mcp', '--http', authority])}"
        "\n\nThe token below is a secret: every user of this machine who has it can run your scripts."
    )
    return "\n\n".join([hub, *([shown[client]] if client else shown.values())])


def _command() -> list[str]:
    """The command that runs now, with its absolute path: agents often run without the user's PATH."""
    program = shutil.which(sys.argv[0])
    if program is None or program.endswith(".py"):
        return [sys.executable, "-m", "brummer"]
    return [os.path.abspath(program)]  # noqa: PTH100 - a symbolic link may outlive its target


def _claude_code(arguments: str) -> str:
    return f"Claude Code, once per user:\n\n    claude mcp add --scope user {arguments}"
