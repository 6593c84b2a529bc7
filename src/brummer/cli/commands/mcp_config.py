"""``brum mcp-config``: the configuration of each coding agent, ready to paste, or written into its settings."""

import argparse
import os
import shlex
import shutil
import sys
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from brummer.cli import options, toml_edit
from brummer.cli.colour import GREEN, RED, Paint
from brummer.cli.mcp_clients import CLIENTS, NAME, Client, ServerEntry, SettingsPlaces
from brummer.cli.messages import say
from brummer.cli.settings_of_clients import edit_of, write
from brummer.core import json_text
from brummer.discovery.record import displayable
from brummer.wire.http.listening import Address

HTTP_ADDRESS: Final[Address] = ("127.0.0.1", 7700)
"""The address in the documentation; a hub over HTTP has no default port."""

PACKAGE: Final = "brummer"
"""As package tools name it."""
_CACHED: Final = "archive-v0"
"""A directory in uv's cache, with the environments of uvx; `uv cache prune` removes them."""

DETAILS: Final = (
    "With --write it adds the hub to the user's settings of that agent: it shows what has changed, keeps comments and"
    " other servers, and leaves a copy of the old file beside it."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "client", nargs="?", choices=CLIENTS, metavar="CLIENT", help=f"{', '.join(CLIENTS)}; default: all"
    )
    parser.add_argument("--write", action="store_true", help="change the settings of CLIENT")
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
    if not chosen.write:
        print(text_for_http(client, address) if address else text(client))
        return 0
    if client is None:
        raise options.WrongArguments(f"--write needs a CLIENT: {', '.join(CLIENTS)}")
    _write(CLIENTS[client], _server(CLIENTS[client], address), options.paint(chosen))
    if address:
        say(f"the hub must run before {CLIENTS[client].title}: {_hub_over_http(address)}")
    return 0


def _write(client: Client, server: ServerEntry, paint: Paint) -> None:
    """Raises SettingsNotChanged."""
    edit = edit_of(client, client.file(SettingsPlaces.of_this_user()), server)
    if edit.changes_nothing:
        print(f"{client.title} has it already, in {displayable(str(edit.file))}")
        return
    backup = write(edit, datetime.now())  # noqa: DTZ005 - the name of a file, for people here
    for line in edit.diff():
        print(_coloured(displayable(line), paint))
    print(f"\n{client.title} has the hub now; restart it, or reload its servers.")
    if backup is not None:
        print(f"The old file is {displayable(str(backup))}")


def _coloured(line: str, paint: Paint) -> str:
    return paint.styled(line, *{"+": [GREEN], "-": [RED]}.get(line[:1], []))


def _server(client: Client, address: Address | None) -> ServerEntry:
    """Raises TokenUnusable, WrongArguments."""
    if address is None:
        return client.local([*_command(), "--mcp"])
    if client.remote is None:
        raise options.WrongArguments(f"{client.title} starts its servers itself; leave --http out")
    return client.remote(_url(address), _authorization())


def text(client: str | None) -> str:
    """How one of `CLIENTS`, or each of them, starts a hub of its own."""
    command = [*_command(), "--mcp"]
    shown = {name: _section(each, each.local(command)) for name, each in CLIENTS.items()}
    shown["claude-code"] = _claude_code(f"{NAME} -- {shlex.join(command)}")
    return "\n\n".join([shown[client]] if client else shown.values())


def text_for_http(client: str | None, address: Address) -> str:
    """How one of `CLIENTS`, or each of them, reaches a hub that serves HTTP at this address. Raises TokenUnusable."""
    url, authorization = _url(address), _authorization()
    shown = {
        name: _section(each, each.remote(url, authorization))
        if each.remote
        else f"{each.title} starts its servers itself: see brum mcp-config {name}"
        for name, each in CLIENTS.items()
    }
    header = shlex.quote(f"Authorization: {authorization}")
    shown["claude-code"] = _claude_code(f"--transport http {NAME} {url} --header {header}")
    hub = (
        f"The hub, which must run before its clients:\n\n    {_hub_over_http(address)}"
        "\n\nThe token below is a secret: every user of this machine who has it can run your scripts."
    )
    return "\n\n".join([hub, *([shown[client]] if client else shown.values())])


def _section(client: Client, server: ServerEntry) -> str:
    """Where the server is written, and how."""
    if client.is_toml:
        block = toml_edit.with_table("", (client.member, NAME), server).rstrip()
    else:
        block = json_text.indented({client.member: {NAME: server}})
    return f"{client.title}, in {_from_home(client.file(SettingsPlaces.of_this_user()))}:\n\n{block}"


def _claude_code(arguments: str) -> str:
    return f"Claude Code, once per user:\n\n    claude mcp add --scope user {arguments}"


def _from_home(path: Path) -> str:
    home = Path.home()
    return displayable(f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path))


def _authorization() -> str:
    """Raises TokenUnusable."""
    from brummer.cli.ports import user_token

    return f"Bearer {user_token()}"


def _authority(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _url(address: Address) -> str:
    return f"http://{_authority(address)}/mcp"


def _hub_over_http(address: Address) -> str:
    return shlex.join([*_command(), "--mcp", "--http", _authority(address)])


def _command() -> list[str]:
    """The command that runs now, with its absolute path: agents often run without the user's PATH. The place that the
    PATH has for it is preferred: the program itself may be in a directory that its package tool renames.
    """
    program = shutil.which(sys.argv[0])
    if program is None or program.endswith(".py"):
        return [sys.executable, "-m", "brummer"]
    if _CACHED in Path(program).resolve().parts:
        from importlib import metadata

        recorded = metadata.distribution(PACKAGE).read_text("direct_url.json")
        return [shutil.which("uvx") or "uvx", "--from", _to_install(recorded), "brum"]
    usual = shutil.which("brum")
    if usual is not None and Path(usual).samefile(program):
        program = usual
    return [os.path.abspath(program)]  # noqa: PTH100 - a symbolic link may outlive its target


class _VersionControl(msgspec.Struct):
    vcs: str
    requested_revision: str | None = None


class _Origin(msgspec.Struct):
    """``direct_url.json`` of PEP 610: where an installer got a package that it did not get from an index."""

    url: str
    vcs_info: _VersionControl | None = None


def _to_install(recorded: str | None) -> str:
    """What uvx takes for the package that runs now: where it is from, else its name on an index. Before the
    package is on an index, its name there may be anybody's.
    """
    if recorded is None:
        return PACKAGE
    origin = msgspec.json.decode(recorded, type=_Origin)
    if origin.vcs_info is None:
        return origin.url
    revision = origin.vcs_info.requested_revision
    return f"{origin.vcs_info.vcs}+{origin.url}" + (f"@{revision}" if revision else "")
