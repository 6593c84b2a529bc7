"""What the user names beside the instances of this machine: MCP servers over HTTP, and boxes over SSH. Pure.

A box is another machine; its instances are reached over SSH, and the server's name is that of the machine.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from brummer.core.errors import shown
from brummer.settings.toml_file import SettingsInvalid, TomlFile, nearest
from brummer.settings.types import DURATION

_TIMES = {"timeout": "timeout_s", "max_timeout": "max_timeout_s", "connect_timeout": "connect_timeout_s"}
"""Keys that are durations, and the fields that they set."""

_KEYS = ("url", "headers", *_TIMES)

NAME_MAX = 64
"""Characters: every line about the server contains the name."""

_BOX_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
"""As in `brummer.discovery.record.HostName`: it is the part after the @ of ``id@box``."""

_SSH: Final = "ssh://"
_WORD: Final = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}"
"""Begins with no dash, so ssh can't take it for an option, and holds nothing that a shell or ssh_config expands."""
_SSH_URL: Final = re.compile(rf"ssh://(?:({_WORD})@)?({_WORD}|\[[0-9A-Fa-f:.]{{2,45}}\])(?::([0-9]{{1,5}}))?/?")
_LAST_PORT: Final = 65535


class Server(msgspec.Struct, frozen=True):
    """``headers`` hold credentials, and parts of the URL may, too: `shown_url` and `repr` leave them out.

    The names of headers are in lower case. ``timeout_s``: how long the server may be silent during a call; most MCP
    clients allow 60 s. ``max_timeout_s``: how long a call that reports progress may take. ``connect_timeout_s``: how
    long the handshake may take; it has up to three answers, and the server may have to wake up for the first.
    """

    name: str
    url: str
    headers: Mapping[str, str] = {}
    timeout_s: float = 60.0
    max_timeout_s: float = 3600.0
    connect_timeout_s: float = 10.0

    def __repr__(self) -> str:
        return f"<Server {self.name} at {self.shown_url}>"

    @property
    def is_box(self) -> bool:
        """Whether it is a machine with instances, which is reached over SSH."""
        return self.url.startswith(_SSH)

    @property
    def destination(self) -> tuple[str, str]:
        """Of a box: ``host`` or ``user@host``, as ssh takes it, and the port; empty for that of ssh's configuration."""
        found = _SSH_URL.fullmatch(self.url)
        user, host, port = found.groups() if found else (None, "", None)
        host = host.strip("[]")
        return f"{user}@{host}" if user else host, port or ""

    @property
    def shown_url(self) -> str:
        """Without the user's name, password, and query."""
        from urllib.parse import urlsplit  # noqa: PLC0415 — 4 ms, and most people name no server

        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}{'?…' if parts.query else ''}"


def from_flag(text: str) -> Server:
    """``NAME=URL`` as given on the command line. Raises `SettingsInvalid`."""
    name, equals, url = text.partition("=")
    if equals and url.startswith(_SSH):
        if why := _wrong_box(name, url):
            raise SettingsInvalid(f"--server {shown(name)}: {why}", key="--server")
        return Server(name, url)
    if not equals or not _is_name(name) or not _is_url(url):
        examples = "docs=http://127.0.0.1:9000/mcp or box=ssh://box"
        raise SettingsInvalid(f"{text!r} is not NAME=URL, for example {examples}", key="--server")
    return Server(name, url)


def from_table(file: TomlFile, complain: Callable[[SettingsInvalid], None]) -> dict[str, Server]:
    """The valid servers of ``[servers.NAME]``; ``complain`` gets the errors of the others."""
    table = file.table.get("servers", {})
    if not isinstance(table, dict):
        complain(file.invalid("servers must be a table, as in [servers.docs]", ("servers",)))
        return {}
    found = {}
    for name, entry in table.items():
        try:
            found[name] = _server(file, name, entry)
        except SettingsInvalid as error:
            complain(error)
    return found


def _server(file: TomlFile, name: str, entry: object) -> Server:
    place = ("servers", name)
    if not _is_name(name):
        what = f"a server's name has up to {NAME_MAX} visible characters; this is {shown(name)!r}"
        raise file.invalid(what, place)
    if isinstance(entry, dict) and str(entry.get("url")).startswith(_SSH):
        return _box(file, name, entry)
    if not isinstance(entry, dict) or not _is_url(entry.get("url")):
        raise file.invalid(f'[servers.{name}] needs url = "http://…", "https://…" or "ssh://…"', (*place, "url"))
    for key in entry:
        if key not in _KEYS:
            hint = f"[servers.{name}] knows {', '.join(_KEYS)}, not {key}"
            raise file.invalid(hint, (*place, key), nearest=nearest(key, _KEYS))
    from brummer.core.http_text import header_faults  # noqa: PLC0415 — few have servers

    headers = entry.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise file.invalid(f"servers.{name}.headers must be a table of strings", (*place, "headers"))
    for header, why in header_faults(headers):
        raise file.invalid(f"servers.{name}.headers can't be sent: {why}", (*place, "headers", header))
    times = {field: _time(file, entry[key], (*place, key)) for key, field in _TIMES.items() if key in entry}
    return Server(name, entry["url"], {header.lower(): value for header, value in headers.items()}, **times)


def _box(file: TomlFile, name: str, entry: dict[str, object]) -> Server:
    url, place = str(entry["url"]), ("servers", name)
    if why := _wrong_box(name, url):
        raise file.invalid(f"[servers.{name}]: {why}", (*place, "url"))
    for key in entry:
        if key != "url":
            what = f"[servers.{name}] is reached over SSH and knows only url, not {key}; the rest is in ~/.ssh/config"
            raise file.invalid(what, (*place, key))
    return Server(name, url)


def _wrong_box(name: str, url: str) -> str:
    """Why this can't be a box; empty if it can. It does not repeat the URL, which may hold a password."""
    if not _BOX_NAME.fullmatch(name):
        return "the name of a machine has up to 63 characters: small letters, digits, dots and dashes, for example box"
    found = _SSH_URL.fullmatch(url)
    if found is None or not 0 < int(found[3] or 1) <= _LAST_PORT:
        return (
            "a machine is ssh://HOST, ssh://USER@HOST or ssh://USER@HOST:PORT, without a password and a path: "
            "ssh uses your keys and ~/.ssh/config"
        )
    return ""


def _time(file: TomlFile, value: object, place: tuple[str, ...]) -> float:
    try:
        seconds = float(DURATION.read(value))
        wanted = f"a duration over 0, up to {DURATION.shown(DURATION.most)}"
    except ValueError as error:
        seconds, wanted = 0.0, str(error)
    if not 0 < seconds <= (DURATION.most or 0):
        raise file.invalid(f"{'.'.join(place)} is {shown(repr(value))}; set it to {wanted}", place)
    return seconds


def _is_name(text: str) -> bool:
    return 0 < len(text) <= NAME_MAX and text.isprintable()


def _is_url(text: object) -> bool:
    from urllib.parse import urlsplit  # noqa: PLC0415 — as above

    from brummer.core.http_text import is_sendable_url  # noqa: PLC0415 — as above

    if not isinstance(text, str) or not is_sendable_url(text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an address or a port that is none
        return False
