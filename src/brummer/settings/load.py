"""Settings are gathered from everywhere they may be set. Pure: files come as text, the environment as a mapping.

The last of these wins: the user's ``~/.brum.toml``, the files of the parent directories from the outermost in, the
project's own file, the environment, the command line. An invalid value is a problem, and has no other effect.

Only the file in the user's home is the user's own. All other files may have come with a clone, also those of the parent
directories. A setting that they may not set (`Setting.set_by`) is ignored, with a warning.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.core.errors import shown
from brummer.settings import servers, toml_file
from brummer.settings.limits import Limits
from brummer.settings.servers import Server
from brummer.settings.table import BY_KEY, FILE_NAME, NO_FLAGS, SERVERS, TABLE, TABLES, Flags, Origin, Settings
from brummer.settings.toml_file import SettingsInvalid, TomlFile, nearest
from brummer.settings.types import PREFIX, PROJECT, USER, SetBy, Setting

REPORTED_MAX: Final = 20
"""Problems, and warnings, that are reported of one file: a file of a megabyte could have a hundred thousand."""

_OTHER_VARIABLES: Final = frozenset(
    {"BRUMMER_INSTANCES_DIR", "BRUMMER_HTTP_TOKEN", "BRUMMER_LOOP", "BRUMMER_TRACES", "BRUMMER_PROCESS", "BRUMMER_RUN"}
)


class SettingsFile(msgspec.Struct, frozen=True):
    """``of``: whose file it is."""

    path: Path
    text: str
    of: SetBy


class SettingIgnored(SettingsInvalid):
    """A project's settings file has a setting that only the user may set; ``context`` as in `SettingsInvalid`."""

    code = "setting_ignored"


def files_for(directory: Path, home: Path | None) -> dict[Path, SetBy]:
    """The settings files that hold in this directory, and whose they are; the last wins."""
    places: dict[Path, SetBy] = {home / FILE_NAME: USER} if home else {}
    for place in (*reversed(directory.parents), directory):
        places.setdefault(place / FILE_NAME, PROJECT)
    return places


def gather(files: Iterable[SettingsFile], environ: Mapping[str, str], flags: Flags = NO_FLAGS) -> Settings:
    """Raises nothing: see `Settings.problems`."""
    gathered = _Gathered()
    for file in files:
        gathered.take_file(file)
    gathered.take_environment(environ)
    gathered.take_flags(flags)
    return gathered.settings()


def value_from_flag(text: str) -> tuple[str, Any]:
    """``KEY=VALUE`` as given on the command line, as the key and what its setting reads. Raises `SettingsInvalid`."""
    key, equals, value = text.partition("=")
    if not equals:
        raise SettingsInvalid(f"{text!r} is not KEY=VALUE, for example max_connections=32", key="--set")
    if key not in BY_KEY:
        what, meant = _unknown(key, BY_KEY)
        raise SettingsInvalid(what, key=key, nearest=meant)
    setting = BY_KEY[key]
    try:
        return key, setting.read(setting.kind.from_text(value))
    except ValueError as error:
        raise SettingsInvalid(f"{key} {error}", key=key) from None


class _Gathered:
    """What was found until now."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._servers: dict[str, Server] = {}
        self._origins: dict[str, Origin] = {}
        self._problems: list[SettingsInvalid] = []
        self._warnings: list[SettingsInvalid] = []

    def take_file(self, given: SettingsFile) -> None:
        try:
            file = toml_file.load(given.path, given.text)
        except SettingsInvalid as error:
            self._problems.append(error)
            return
        problems: list[SettingsInvalid] = []
        ignored: list[SettingsInvalid] = []
        for key, value in file.table.items():
            setting = BY_KEY.get(key)
            set_by = setting.set_by if setting else TABLES.get(key)
            if set_by is None:
                what, meant = _unknown(key, (*BY_KEY, *TABLES))
                problems.append(file.invalid(what, (key,), nearest=meant))
            elif set_by == USER and given.of != USER:
                ignored += _ignored(file, key)
            elif setting:
                self._set(setting, value, Origin("file", str(given.path), file.line_of((key,))), problems)
            elif key == SERVERS:
                self._take_servers(file, problems)
        self._problems += _first_of(problems)
        self._warnings += _first_of(ignored)

    def _take_servers(self, file: TomlFile, problems: list[SettingsInvalid]) -> None:
        for name, server in servers.from_table(file, problems.append).items():
            self._add_server(server, Origin("file", str(file.path), file.line_of((SERVERS, name))))

    def take_environment(self, environ: Mapping[str, str]) -> None:
        for setting in TABLE:
            if text := environ.get(setting.variable, "").strip():
                origin = Origin("variable", setting.variable)
                self._set(setting, setting.kind.from_text(text), origin, self._problems)
        for variable in environ:
            if variable.startswith(PREFIX) and variable not in _OTHER_VARIABLES:
                self._check_variable(variable)

    def _check_variable(self, variable: str) -> None:
        """Other programs may use our prefix: an unknown one is a warning only if it is similar to a setting."""
        key = variable.removeprefix(PREFIX).lower()
        meant = None if key in BY_KEY else nearest(key, BY_KEY)
        if meant:
            what = f"there is no setting {variable}; did you mean {BY_KEY[meant].variable}?"
            self._warnings.append(SettingsInvalid(what, key=variable, nearest=BY_KEY[meant].variable))

    def take_flags(self, flags: Flags) -> None:
        for key, value in flags.values.items():
            self._values[key], self._origins[key] = value, Origin("flag", "--set")
        for server in flags.servers:
            self._add_server(server, Origin("flag", "--server"))

    def _set(self, setting: Setting, value: object, origin: Origin, problems: list[SettingsInvalid]) -> None:
        try:
            self._values[setting.key] = setting.read(value)
            self._origins[setting.key] = origin
        except ValueError as error:
            name, path = (origin.name, None) if origin.kind == "variable" else (setting.key, origin.name)
            problems.append(SettingsInvalid(f"{name} {error}", path=path, line=origin.line, key=name))

    def _add_server(self, server: Server, origin: Origin) -> None:
        self._servers[server.name] = server
        self._origins[f"servers.{server.name}"] = origin

    def _check_memory(self) -> None:
        """Two settings that depend on each other: if they contradict, neither holds."""
        soft, hard = BY_KEY["memory_soft"], BY_KEY["memory_hard"]
        soft_bytes, hard_bytes = (self._values.get(each.key, each.default) for each in (soft, hard))
        if soft_bytes <= hard_bytes:
            return
        wrong = soft if soft.key in self._values else hard
        origin = self._origins[wrong.key]
        name, path = (origin.name, None) if origin.kind != "file" else (wrong.key, origin.name)
        what = f"{name}: memory_soft ({soft_bytes} bytes) must not be over memory_hard ({hard_bytes} bytes)"
        self._problems.append(SettingsInvalid(what, path=path, line=origin.line, key=name))
        for each in (soft, hard):
            self._values.pop(each.key, None)
            self._origins.pop(each.key, None)

    def settings(self) -> Settings:
        self._check_memory()
        values = {setting.key: setting for setting in TABLE if setting.key in self._values}
        limits = {s.limit: self._values[s.key] for s in values.values() if s.limit}
        others = {key: self._values[key] for key, s in values.items() if not s.limit}
        return Settings(
            **others,
            servers=tuple(self._servers.values()),
            limits=Limits(**limits),
            origins=self._origins,
            problems=tuple(self._problems),
            warnings=tuple(self._warnings),
        )


def _ignored(file: TomlFile, key: str) -> Iterator[SettingsInvalid]:
    """One problem for each server in the file, so that the user can find and move each."""
    if key == SERVERS:
        named = file.table[key]
        for name in named if isinstance(named, dict) else ():
            what = (
                f"a project's file can't name servers: [servers.{shown(name)}] is ignored; "
                f"to connect to it, put it into {FILE_NAME} in your home directory"
            )
            yield file.invalid(what, (key, name), kind=SettingIgnored)
        return
    what = (
        f"a project's file can't set {key}: it is ignored; "
        f"to set it, put it into {FILE_NAME} in your home directory, or set {BY_KEY[key].variable}"
    )
    yield file.invalid(what, (key,), kind=SettingIgnored)


def _first_of(found: list[SettingsInvalid]) -> list[SettingsInvalid]:
    """All problems of one file, or the first of them and the number of the others."""
    if len(found) <= REPORTED_MAX:
        return found
    first = found[0]
    more = type(first)(f"{len(found) - REPORTED_MAX} more in this file", path=first.path)
    return [*found[:REPORTED_MAX], more]


def _unknown(key: str, known: Iterable[str]) -> tuple[str, str | None]:
    """The text of the error, and the setting that was probably meant."""
    meant = nearest(key, known)
    hint = f"did you mean {meant}?" if meant else "`brum --settings` lists them all"
    return f"there is no setting {shown(key)}; {hint}", meant
