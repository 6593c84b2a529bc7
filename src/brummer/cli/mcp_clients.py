"""The coding agents that `brum mcp-config` knows: where each keeps its MCP servers, and how it writes one.

Each row follows the agent's own documentation. Paths are those of the user, on Linux and macOS.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

NAME: Final = "brummer"
"""Of the hub, among the servers of a client."""

ServerEntry = dict[str, Any]
"""How a client writes a server."""


class SettingsPlaces(NamedTuple):
    """Where a user keeps settings."""

    home: Path
    environ: Mapping[str, str]
    is_mac: bool = False

    @classmethod
    def of_this_user(cls) -> "SettingsPlaces":
        return cls(Path.home(), os.environ, is_mac=sys.platform == "darwin")

    @property
    def config(self) -> Path:
        """That of programs which follow the XDG specification on every system."""
        given = self.environ.get("XDG_CONFIG_HOME", "")
        return Path(given) if given.startswith("/") else self.home / ".config"

    @property
    def application(self) -> Path:
        """That of desktop programs."""
        return self.home / "Library" / "Application Support" if self.is_mac else self.config

    def given(self, variable: str, default: Path) -> Path:
        """A directory that a variable of the client may move."""
        return Path(self.environ.get(variable) or default)


class Client(NamedTuple):
    """``files``: where the user's settings may be, the usual place first. ``member``: what holds the servers.
    ``local``: a server that it starts; ``remote``: one that it reaches over HTTP, None if it can't. ``project_file``:
    where a project has settings of its own; empty if we know no such file.
    """

    title: str
    files: Callable[[SettingsPlaces], list[Path]]
    member: str
    local: Callable[[list[str]], ServerEntry]
    remote: Callable[[str, str], ServerEntry] | None
    project_file: str = ""

    def file(self, places: SettingsPlaces) -> Path:
        """The file that exists, else the one whose directory does, else the usual one."""
        files = self.files(places)
        return next((path for exists in (Path.exists, _has_directory) for path in files if exists(path)), files[0])

    @property
    def is_toml(self) -> bool:
        return self.title == "Codex"

    def path_in(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Where the hub's entry is in these settings. Version 2 of opencode has its servers one level deeper."""
        servers = settings.get(self.member)
        inner = servers.get("servers") if self.title == "opencode" and isinstance(servers, dict) else None
        is_deeper = isinstance(inner, dict) and "type" not in inner
        return (self.member, *(["servers"] if is_deeper else []), NAME)


def _has_directory(path: Path) -> bool:
    return path.parent.is_dir()


def _started(command: list[str]) -> ServerEntry:
    return {"command": command[0], "args": command[1:]}


def _started_with_type(command: list[str]) -> ServerEntry:
    return {"type": "stdio", **_started(command)}


def _reached(member: str, **more: str) -> Callable[[str, str], ServerEntry]:
    return lambda url, authorization: {**more, member: url, "headers": {"Authorization": authorization}}


def _vscode(places: SettingsPlaces, *below: str) -> list[Path]:
    """In the user's directory of VS Code, or of a variant of it."""
    return [places.application.joinpath(program, "User", *below) for program in ("Code", "Code - Insiders", "VSCodium")]


TRANSPORT_MEMBERS: Final = frozenset(
    {"type", "command", "args", "url", "httpUrl", "serverUrl", "headers", "http_headers"}
)
"""Members of a server that say how it is reached; the user's others, such as ``env``, are kept."""

CLIENTS: Final = {
    "claude-code": Client(
        "Claude Code",
        lambda places: [places.given("CLAUDE_CONFIG_DIR", places.home) / ".claude.json"],
        "mcpServers",
        _started_with_type,
        _reached("url", type="http"),
        ".mcp.json",
    ),
    "claude-desktop": Client(
        "Claude Desktop",
        lambda places: [places.application / "Claude" / "claude_desktop_config.json"],
        "mcpServers",
        _started,
        None,
    ),
    "cursor": Client(
        "Cursor",
        lambda places: [places.home / ".cursor" / "mcp.json"],
        "mcpServers",
        _started,
        _reached("url"),
        ".cursor/mcp.json",
    ),
    "vscode": Client(
        "VS Code",
        lambda places: _vscode(places, "mcp.json"),
        "servers",
        _started_with_type,
        _reached("url", type="http"),
        ".vscode/mcp.json",
    ),
    "codex": Client(
        "Codex",
        lambda places: [places.given("CODEX_HOME", places.home / ".codex") / "config.toml"],
        "mcp_servers",
        _started,
        lambda url, authorization: {"url": url, "http_headers": {"Authorization": authorization}},
    ),
    "gemini": Client(
        "Gemini CLI",
        lambda places: [places.home / ".gemini" / "settings.json"],
        "mcpServers",
        _started,
        _reached("httpUrl"),
        ".gemini/settings.json",
    ),
    "opencode": Client(
        "opencode",
        lambda places: [places.config / "opencode" / name for name in ("opencode.json", "opencode.jsonc")],
        "mcp",
        lambda command: {"type": "local", "command": command},
        _reached("url", type="remote"),
        "opencode.json",
    ),
    "windsurf": Client(
        "Windsurf",
        lambda places: [places.home / ".codeium" / "windsurf" / "mcp_config.json"],
        "mcpServers",
        _started,
        _reached("serverUrl"),
    ),
    "zed": Client(
        "Zed",
        lambda places: [(places.home / ".config" if places.is_mac else places.config) / "zed" / "settings.json"],
        "context_servers",
        _started,
        _reached("url"),
    ),
    "cline": Client(
        "Cline",
        lambda places: [
            *_vscode(places, "globalStorage", "saoudrizwan.claude-dev", "settings", "cline_mcp_settings.json"),
            places.home / ".cline" / "data" / "settings" / "cline_mcp_settings.json",
        ],
        "mcpServers",
        _started,
        _reached("url", type="streamableHttp"),
    ),
}
