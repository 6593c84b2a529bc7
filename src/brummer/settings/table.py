"""What a user may set: one literal table, and the values that hold. How they are gathered stands in `gathering`."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from brummer.core.errors import shown
from brummer.settings.limits import DEFAULTS, Limits
from brummer.settings.servers import Server
from brummer.settings.toml_file import SettingsInvalid
from brummer.settings.types import ADDRESSES, BOOLEAN, COUNT, DURATION, SIZE, Kind

FILE_NAME: Final = ".brum.toml"
PREFIX: Final = "BRUMMER_"

SetBy = Literal["user", "project"]
USER: Final = "user"
PROJECT: Final = "project"
"""Whose files may have a setting. A project's file comes with a clone, so it is not trusted: it may set what concerns
the project's own instance, and nothing that a hub reads. The user's own file, the environment and flags may set
everything.
"""


class Setting(msgspec.Struct, frozen=True):
    """``limit``: the field of `Limits` that it sets; other settings are fields of `Settings`, named like their key.

    ``set_by`` "project": a project's settings file may set it, too. It has no default, so every new setting must state
    it. Numbers must be ``least`` or more.
    """

    key: str
    kind: Kind
    default: Any
    set_by: SetBy
    meaning: str
    limit: str | None = None
    least: float = 0

    @property
    def variable(self) -> str:
        """What sets it in the environment."""
        return PREFIX + self.key.upper()

    def read(self, value: object) -> Any:
        """A value as TOML has it. Raises ValueError, whose text goes on after the setting's name."""
        try:
            found = self.kind.read(value)
        except ValueError as error:
            raise ValueError(f"is {shown(repr(value))}; set it to {error}") from None
        if self.kind.most is not None and not self.least <= found <= self.kind.most:
            least, most = self.kind.shown(self.least), self.kind.shown(self.kind.most)
            raise ValueError(f"is {self.kind.shown(found)}; set it to something from {least} to {most}")
        return found


def _limit(key: str, kind: Kind, field: str, set_by: SetBy, meaning: str, *, least: float = 1) -> Setting:
    return Setting(key, kind, getattr(DEFAULTS, field), set_by, meaning, field, least)


MIB: Final = 1024**2
SMALL: Final = 64_000
"""Bytes: less would cut ordinary answers."""

TABLE: Final = (
    Setting("use_robust_networking", BOOLEAN, True, USER, "false: one connection per call, and nothing is recovered"),
    Setting("logind", BOOLEAN, False, USER, "true: note a sleep before it begins; needs brummer[logind]"),
    Setting("connectivity_endpoints", ADDRESSES, (), USER, "we are online if one of them takes a connection"),
    _limit("max_connections", COUNT, "connections", USER, "connections of a hub to all instances", least=4),
    _limit("max_in_flight", COUNT, "in_flight", USER, "calls under way to all instances"),
    _limit("max_in_flight_per_instance", COUNT, "in_flight_per_instance", USER, "calls under way to one instance"),
    _limit(
        "max_waiting_per_instance", COUNT, "waiting_per_instance", USER, "calls that wait for an event in one instance"
    ),
    _limit("max_queued_per_instance", COUNT, "queued_per_instance", USER, "calls that wait for a place", least=0),
    _limit("max_parked", COUNT, "parked", USER, "calls that wait for an instance that is away", least=0),
    _limit("max_reply", SIZE, "reply_bytes", USER, "one reply of an instance", least=SMALL),
    _limit("max_request", SIZE, "request_bytes", USER, "one request, to the hub or to an instance", least=SMALL),
    _limit(
        "ledger_entries",
        COUNT,
        "ledger_entries",
        PROJECT,
        "calls whose results an instance keeps for a lost connection",
    ),
    _limit("ledger_size", SIZE, "ledger_bytes", PROJECT, "those results together", least=SMALL),
    _limit("ledger_age", DURATION, "ledger_age_s", PROJECT, "how long they are kept"),
    _limit(
        "output_size", SIZE, "output_bytes", PROJECT, "memory for what the scripts of an instance print", least=SMALL
    ),
    _limit(
        "journal_size", SIZE, "journal_bytes", PROJECT, "on disk, what is readable after an instance died", least=SMALL
    ),
    _limit("memory_soft", SIZE, "memory_soft_bytes", USER, "from here on caches are given up", least=64 * MIB),
    _limit("memory_hard", SIZE, "memory_hard_bytes", USER, "from here on new work is refused", least=64 * MIB),
    _limit(
        "open_files", COUNT, "open_files", USER, "files and sockets of a hub, as far as the system lets it", least=64
    ),
)
BY_KEY: Final = {setting.key: setting for setting in TABLE}

SERVERS: Final = "servers"
SCRIPTS: Final = "scripts"
TABLES: Final[dict[str, SetBy]] = {SERVERS: USER, SCRIPTS: PROJECT}
"""The tables of a settings file, and whose files may have them. The detectors read the scripts."""


class Origin(msgspec.Struct, frozen=True):
    """Where a value was set. ``name``: of the file, the variable or the flag; ``line`` counts from 1."""

    kind: Literal["default", "file", "variable", "flag"] = "default"
    name: str = ""
    line: int | None = None

    def __str__(self) -> str:
        return (self.name or self.kind) + (f":{self.line}" if self.line else "")


DEFAULT: Final = Origin()


class Settings(msgspec.Struct, frozen=True):
    """``use_robust_networking`` False: the basic link, one connection per call, nothing recovered.

    ``connectivity_endpoints``: (host, port) pairs; without any, nothing outside is ever asked: routes and carrier
    decide whether we are online. ``origins`` has those that are not the default, by key (``servers.NAME``).
    ``problems``: what could not be understood, and does not hold; ``warnings``: what was perhaps meant otherwise.
    """

    use_robust_networking: bool = True
    logind: bool = False
    connectivity_endpoints: tuple[tuple[str, int], ...] = ()
    servers: tuple[Server, ...] = ()
    limits: Limits = DEFAULTS
    origins: Mapping[str, Origin] = {}
    problems: tuple[SettingsInvalid, ...] = ()
    warnings: tuple[SettingsInvalid, ...] = ()

    def value_of(self, setting: Setting) -> Any:
        return getattr(self.limits, setting.limit) if setting.limit else getattr(self, setting.key)

    def origin_of(self, key: str) -> Origin:
        return self.origins.get(key, DEFAULT)


class Flags(msgspec.Struct, frozen=True):
    """What the command line sets, beside files and variables; ``values`` by key, as read by their settings."""

    values: Mapping[str, Any] = {}
    servers: tuple[Server, ...] = ()


NO_FLAGS: Final = Flags()
