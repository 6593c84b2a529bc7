"""The hub in the settings of coding agents: which have it, and how it is added. Then other lines stay as they are, and
the old file is kept beside the new one.
"""

import contextlib
import difflib
import os
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from brummer.cli import json_edit, toml_edit
from brummer.cli.json_edit import NotUnderstood
from brummer.cli.mcp_clients import CLIENTS, TRANSPORT_MEMBERS, Client, ServerEntry, SettingsPlaces
from brummer.core.errors import BrummerError
from brummer.host.files import write_atomically

NEW_FILE_MODE: Final = 0o600
"""Settings may hold tokens."""
CONTEXT_LINES: Final = 2
_BYTE_ORDER_MARK: Final = "\ufeff"


class SettingsNotChanged(BrummerError):
    """Nothing was written; the message says what to do."""

    code = "settings_not_changed"


class Edit(NamedTuple):
    """A change of one file. ``old`` is None for a new file."""

    file: Path
    old: bytes | None
    new: bytes

    @property
    def changes_nothing(self) -> bool:
        return self.old == self.new

    def diff(self) -> Iterator[str]:
        """The changed lines with some around them, as ``diff -u`` shows them."""
        old, new = ((text or b"").decode().splitlines() for text in (self.old, self.new))
        before = os.devnull if self.old is None else str(self.file)
        return difflib.unified_diff(old, new, before, str(self.file), n=CONTEXT_LINES, lineterm="")


def configured_agents(places: SettingsPlaces, project: Path) -> list[str]:
    """Titles of the clients that have the hub in the user's settings, or else in those of this project. Blocks for disk
    access; a file that can't be read or understood has no hub.
    """
    found = []
    for client in CLIENTS.values():
        if any(_has_hub(client, file) for file in client.files(places)):
            found.append(client.title)
        elif client.project_file and _has_hub(client, project / client.project_file):
            found.append(f"{client.title} (this directory)")
    return found


def _has_hub(client: Client, file: Path) -> bool:
    """Under any name if the client starts it; under ours if it is reached over HTTP, where its address may be any."""
    try:
        text = file.read_text(encoding="utf-8-sig", errors="replace")
        if "brum" in text and "--mcp" in text:
            return True
        settings = toml_edit.parsed(text) if client.is_toml else json_edit.parsed(text)
    except (OSError, NotUnderstood):
        return False
    return isinstance(settings, dict) and _at(settings, client.path_in(settings)) is not None


def edit_of(client: Client, file: Path, server: ServerEntry) -> Edit:
    """How the file becomes one in which the client has this server. Raises SettingsNotChanged."""
    try:
        old = file.read_bytes()
    except FileNotFoundError:
        old = None
    except OSError as error:
        raise SettingsNotChanged(f"{file} can't be read: {error.strerror}") from None
    try:
        text = (old or b"").decode()
        mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
        new = mark + _with_server(client, text.removeprefix(mark), server)
    except UnicodeDecodeError:
        raise SettingsNotChanged(f"{file} is not UTF-8, so it was not changed") from None
    except NotUnderstood as error:
        raise SettingsNotChanged(
            f"{file}, {error.message}. It was not changed: correct it, or add what brum mcp-config shows by hand"
        ) from None
    return Edit(file, old, new.encode())


def _with_server(client: Client, text: str, server: ServerEntry) -> str:
    if client.is_toml:
        settings = toml_edit.parsed(text)
        path = client.path_in(settings)
        known, merged = _merged(settings, path, server)
        return text if known == merged else toml_edit.with_table(text, (path[0], path[1]), merged)
    text = text if text.strip() else "{}\n"
    settings = json_edit.parsed(text)
    path = client.path_in(settings if isinstance(settings, dict) else {})
    known, merged = _merged(settings, path, server)
    return text if known == merged else json_edit.with_member(text, path, merged)


def _merged(settings: Any, path: tuple[str, ...], server: ServerEntry) -> tuple[Any, ServerEntry]:
    """The entry as it is, and as it has to be: with the user's other members, such as ``env``."""
    known = _at(settings, path)
    kept = known if isinstance(known, dict) else {}
    return known, {**{name: value for name, value in kept.items() if name not in TRANSPORT_MEMBERS}, **server}


def _at(settings: Any, path: tuple[str, ...]) -> Any:
    """The value there; None if there is none."""
    for name in path:
        settings = settings.get(name) if isinstance(settings, dict) else None
    return settings


def write(edit: Edit, now: datetime) -> Path | None:
    """Replace the file, or make it; returns the copy of the old one. A symbolic link stays one, and the mode is kept.
    Raises SettingsNotChanged.
    """
    file = Path(os.path.realpath(edit.file))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        mode = NEW_FILE_MODE
        backup = None
        if edit.old is not None:
            mode = stat.S_IMODE(file.stat().st_mode)
            if not os.access(file, os.W_OK):
                raise SettingsNotChanged(f"{file} is read-only, so it was not changed")
            backup = _unused(file, now)
            write_atomically(backup, edit.old, mode=mode)
        with contextlib.suppress(FileNotFoundError):
            if file.read_bytes() != edit.old:
                raise SettingsNotChanged(f"{file} was changed by another program meanwhile; try again")
        write_atomically(file, edit.new, mode=mode)
        file.chmod(mode)  # the umask may have narrowed it
    except OSError as error:
        raise SettingsNotChanged(f"{error.filename or file} can't be written: {error.strerror}") from None
    return backup


def _unused(file: Path, now: datetime) -> Path:
    """A name for a copy that no file has."""
    name = f"{file.name}.{now:%Y-%m-%d-%H%M%S}.bak"
    return next(
        path for n in range(1_000_000) if not os.path.lexists(path := file.with_name(name + (f".{n}" if n else "")))
    )
