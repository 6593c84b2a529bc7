"""What to add to each coding agent's configuration, ready to paste."""

import json
import os
import shlex
import shutil
import sys
from typing import Any


def text(client: str | None) -> str:
    """The instructions for one of `CLIENTS`, or for all of them."""
    chosen = [client] if client else list(CLIENTS)
    return "\n\n".join(CLIENTS[name]() for name in chosen)


def _command() -> list[str]:
    """What runs just now, with its absolute path: agents are started elsewhere, and often without the user's PATH."""
    program = shutil.which(sys.argv[0])  # on Windows its name has no extension here
    if program is None or program.endswith(".py"):
        return [sys.executable, "-m", "brummer"]
    return [os.path.abspath(program)]  # noqa: PTH100 - a link to it may outlive where it leads


def _json(config: dict[str, Any]) -> str:
    return json.dumps(config, indent=2)


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


CLIENTS = {
    "claude-code": _claude_code,
    "cursor": _cursor,
    "vscode": _vscode,
    "claude-desktop": _claude_desktop,
}
