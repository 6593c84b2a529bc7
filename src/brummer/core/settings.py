"""What a user may set, and where it was set. Pure: files come as text, the environment as a mapping.

Later wins: the user's ``~/.brum.toml``, those of the parent directories from the outermost in, the project's own, the
environment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from brummer.core import toml_file
from brummer.core.toml_file import SettingsInvalid

FILE_NAME: Final = ".brum.toml"
PORT_MAX: Final = 65_535
ROBUST_VARIABLE: Final = "BRUMMER_USE_ROBUST_NETWORKING"

_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})


@dataclass(frozen=True, slots=True)
class Server:
    """Any Streamable HTTP MCP server that the hub shall link to, beside Brummer's own instances."""

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # they hold credentials


@dataclass(frozen=True, slots=True)
class Settings:
    """``use_robust_networking`` False: the basic link, one connection per call, nothing recovered.

    ``connectivity_endpoints``: (host, port) pairs; we are online if one of them takes a connection. Without any,
    nothing outside is ever asked: routes and carrier decide. ``logind``: note a sleep before it begins.
    """

    use_robust_networking: bool = True
    servers: tuple[Server, ...] = ()
    connectivity_endpoints: tuple[tuple[str, int], ...] = ()
    logind: bool = False


def files_for(directory: Path, home: Path) -> list[Path]:
    """Where settings may stand for somebody in this directory; the last wins."""
    places = [home, *reversed(directory.parents), directory]
    return list(dict.fromkeys(place / FILE_NAME for place in places))


def load(texts: Iterable[tuple[Path, str]], environ: Mapping[str, str]) -> Settings:
    """Raises `SettingsInvalid` for a file that is no TOML, a value of the wrong type, or an unknown key."""
    robust, logind = True, False
    servers: dict[str, Server] = {}
    endpoints: tuple[tuple[str, int], ...] = ()
    for path, text in texts:
        table = toml_file.load(path, text).table
        endpoints = _endpoints(path, table, default=endpoints)
        robust = _boolean(path, table, "use_robust_networking", default=robust)
        logind = _boolean(path, table, "logind", default=logind)
        servers |= {name: _server(path, name, entry) for name, entry in _table(path, table, "servers").items()}
    if (word := environ.get(ROBUST_VARIABLE, "").strip().lower()) in _TRUE | _FALSE:
        robust = word in _TRUE
    elif word:
        raise SettingsInvalid(f"{ROBUST_VARIABLE} is {word!r}; set it to true or false", key=ROBUST_VARIABLE)
    return Settings(robust, tuple(servers.values()), endpoints, logind)


def server_from_flag(text: str) -> Server:
    """``NAME=URL`` as given on the command line. Raises `SettingsInvalid`."""
    name, equals, url = text.partition("=")
    if not equals or not name:
        raise SettingsInvalid(f"{text!r} is not NAME=URL, for example docs=http://127.0.0.1:9000/mcp", key="--server")
    return Server(name, _url("--server", name, url))


def _boolean(path: Path, table: dict[str, Any], key: str, *, default: bool) -> bool:
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise SettingsInvalid(f"{path}: {key} is {value!r}; set it to true or false", path=str(path), key=key)
    return value


def _endpoints(
    path: Path, table: dict[str, Any], *, default: tuple[tuple[str, int], ...]
) -> tuple[tuple[str, int], ...]:
    key = "connectivity_endpoints"
    if key not in table:
        return default
    found = []
    for text in table[key] if isinstance(table[key], list) else [None]:
        host, _, port = str(text).rpartition(":")
        if not (isinstance(text, str) and host and port.isdecimal() and 0 < int(port) <= PORT_MAX):
            example = f'{key} = ["192.0.2.7:443"]'
            raise SettingsInvalid(
                f"{path}: {key} must list HOST:PORT, as in {example}, not {text!r}", path=str(path), key=key
            )
        found.append((host.strip("[]"), int(port)))
    return tuple(found)


def _table(path: Path, table: dict[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise SettingsInvalid(f"{path}: {key} must be a table, as in [{key}.docs]", path=str(path), key=key)
    return value


def _server(path: Path, name: str, entry: object) -> Server:
    key = f"servers.{name}"
    if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        raise SettingsInvalid(f'{path}: [{key}] needs url = "http://…"', path=str(path), key=key)
    headers = entry.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise SettingsInvalid(f"{path}: {key}.headers must be a table of strings", path=str(path), key=key)
    unknown = set(entry) - {"url", "headers"}
    if unknown:
        raise SettingsInvalid(f"{path}: [{key}] knows url and headers, not {min(unknown)}", path=str(path), key=key)
    return Server(name, _url(str(path), name, entry["url"]), headers)


def _url(where: str, name: str, url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise SettingsInvalid(f"{where}: the URL of {name} must begin with http:// or https://", key=name)
    return url
