"""``brum mcp-config``: the configuration of each coding agent, ready to paste."""

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

from brummer.cli import options
from brummer.core import json_text
from brummer.wire.http.listening import Address

T = TypeVar("T")

HTTP_ADDRESS: Final[Address] = ("127.0.0.1", 7700)
"""The address in the documentation; a hub over HTTP has no default port."""

DETAILS: Final = ""


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
    return "\n\n".join(shown() for shown in _chosen(CLIENTS, client))


def text_for_http(client: str | None, address: Address) -> str:
    """How one of `CLIENTS`, or each of them, reaches a hub that serves HTTP at this address. Raises TokenUnusable."""
    from brummer.cli.ports import user_token

    host, port = address
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/mcp"
    shown = [_hub_over_http(address), *(of(url, user_token()) for of in _chosen(HTTP_CLIENTS, client))]
    return "\n\n".join(shown)


def _chosen(clients: dict[str, T], client: str | None) -> list[T]:
    return [clients[client]] if client else list(clients.values())


def _command() -> list[str]:
    """The command that runs now, with its absolute path: agents often run without the user's PATH."""
    program = shutil.which(sys.argv[0])
    if program is None or program.endswith(".py"):
        return [sys.executable, "-m", "brummer"]
    return [os.path.abspath(program)]  # noqa: PTH100 - a symbolic link may outlive its target


def _json(config: dict[str, Any]) -> str:
    return json_text.indented(config)


# A hub of the client's own, over stdio.


def _server() -> dict[str, Any]:
    program, *arguments = _command()
    return {"command": program, "args": [*arguments, "--mcp"]}


def _claude_code() -> str:
    command = shlex.join([*_command(), "--mcp"])
    return f"Claude Code, once per user:\n\n    claude mcp add --scope user brummer -- {command}"


def _cursor() -> str:
    return f"Cursor, in ~/.cursor/mcp.json:\n\n{_json({'mcpServers': {'brummer': _server()}})}"


def _vscode() -> str:
    return f"VS Code, in .vscode/mcp.json:\n\n{_json({'servers': {'brummer': {'type': 'stdio', **_server()}}})}"


def _claude_desktop() -> str:
    return f"Claude Desktop, in claude_desktop_config.json:\n\n{_json({'mcpServers': {'brummer': _server()}})}"


CLIENTS: Final[dict[str, Callable[[], str]]] = {
    "claude-code": _claude_code,
    "cursor": _cursor,
    "vscode": _vscode,
    "claude-desktop": _claude_desktop,
}


# One hub for all clients, over HTTP.


def _hub_over_http(address: Address) -> str:
    host, port = address
    command = shlex.join([*_command(), "--mcp", "--http", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"])
    return (
        f"The hub, which must run before its clients:\n\n    {command}\n\n"
        "The token below is a secret: every user of this machine who has it can run your scripts."
    )


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _claude_code_http(url: str, token: str) -> str:
    header = shlex.quote(f"Authorization: Bearer {token}")
    command = f"claude mcp add --scope user --transport http brummer {url} --header {header}"
    return f"Claude Code, once per user:\n\n    {command}"


def _cursor_http(url: str, token: str) -> str:
    server = {"url": url, "headers": _headers(token)}
    return f"Cursor, in ~/.cursor/mcp.json:\n\n{_json({'mcpServers': {'brummer': server}})}"


def _vscode_http(url: str, token: str) -> str:
    server = {"type": "http", "url": url, "headers": _headers(token)}
    return f"VS Code, in .vscode/mcp.json:\n\n{_json({'servers': {'brummer': server}})}"


def _claude_desktop_http(_: str, __: str) -> str:
    return "Claude Desktop starts its servers itself: see brum mcp-config claude-desktop"


HTTP_CLIENTS: Final[dict[str, Callable[[str, str], str]]] = {
    "claude-code": _claude_code_http,
    "cursor": _cursor_http,
    "vscode": _vscode_http,
    "claude-desktop": _claude_desktop_http,
}
