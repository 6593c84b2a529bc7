"""The table of settings, and the values that hold. A setting is one field of `Limits`, or of `Settings`.

`brummer.settings.load` gathers the values.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from brummer.settings.limits import DEFAULTS, LIMITS, Limits
from brummer.settings.servers import Server
from brummer.settings.toml_file import SettingsInvalid
from brummer.settings.types import ADDRESSES, BOOLEAN, PROJECT, USER, SetBy, Setting, one_of, settings_of

FILE_NAME: Final = ".brum.toml"
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

    use_robust_networking: Annotated[
        bool,
        Setting("use_robust_networking", BOOLEAN, USER, "false: one connection per call, and nothing is recovered"),
    ] = True
    logind: Annotated[
        bool, Setting("logind", BOOLEAN, USER, "true: note a sleep before it begins; needs brummer[logind]")
    ] = False
    connectivity_endpoints: Annotated[
        tuple[tuple[str, int], ...],
        Setting("connectivity_endpoints", ADDRESSES, USER, "the machine is online if one of them accepts a connection"),
    ] = ()
    start_instances: Annotated[
        Literal["known", "home", "never"],
        Setting(
            "start_instances",
            one_of("known", "home", "never"),
            USER,
            "where an agent may have an instance started: where one has run, or the agent was started; below your home",
        ),
    ] = "known"
    tui: Annotated[
        bool, Setting("tui", BOOLEAN, USER, "false: `brum` alone prints lines on a terminal, too, and opens no view")
    ] = True
    notify: Annotated[
        bool, Setting("notify", BOOLEAN, USER, "false: no bell when a script fails while nobody looks at the view")
    ] = True
    glyphs: Annotated[
        Literal["unicode", "ascii"],
        Setting("glyphs", one_of("unicode", "ascii"), USER, "the signs of the view: ascii for a font without others"),
    ] = "unicode"
    resources: Annotated[
        bool,
        Setting(
            "resources",
            BOOLEAN,
            USER,
            "false: hosts of MCP Apps get no page for the chat; view_open gives its address",
        ),
    ] = True
    servers: tuple[Server, ...] = ()
    limits: Limits = DEFAULTS
    origins: Mapping[str, Origin] = {}
    problems: tuple[SettingsInvalid, ...] = ()
    warnings: tuple[SettingsInvalid, ...] = ()

    def value_of(self, setting: Setting) -> Any:
        return getattr(self.limits, setting.limit) if setting.limit else getattr(self, setting.key)

    def origin_of(self, key: str) -> Origin:
        return self.origins.get(key, DEFAULT)


TABLE: Final = (*settings_of(Settings, Settings()).values(), *LIMITS)
BY_KEY: Final = {setting.key: setting for setting in TABLE}


class Flags(msgspec.Struct, frozen=True):
    """What the command line sets, beside files and variables; ``values`` by key, as read by their settings."""

    values: Mapping[str, Any] = {}
    servers: tuple[Server, ...] = ()


NO_FLAGS: Final = Flags()
