"""A setting, and the kinds of values that it may have: how each is read from TOML and from text, and shown. Pure."""

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from brummer.core.errors import shown
from brummer.settings import units

PREFIX: Final = "BRUMMER_"

PORT_MAX: Final = 65_535

_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})


class ValueKind(msgspec.Struct, frozen=True):
    """``read`` takes a value of TOML; ``from_text`` makes such a value of the text of a variable or a flag.

    ``read`` raises ValueError, whose text describes a valid value. With a ``most`` the values are numbers, in ``unit``.
    """

    name: str
    read: Callable[[object], Any]
    from_text: Callable[[str], object]
    shown: Callable[[Any], str]
    unit: str = ""
    most: float | None = None


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004 — one error for all that won't do
    return value


def _boolean_from_text(text: str) -> object:
    word = text.strip().lower()
    return word in _TRUE if word in _TRUE | _FALSE else text


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number, such as 64")  # noqa: TRY004 — as above
    return value


def _count_from_text(text: str) -> object:
    word = text.strip()
    return int(word) if word.isdecimal() and word.isascii() and len(word) < len(str(units.LARGEST)) else text


def _addresses(value: object) -> tuple[tuple[str, int], ...]:
    found = []
    for text in value if isinstance(value, list) else [None]:
        host, _, port = str(text).rpartition(":")
        if not (isinstance(text, str) and host and port.isdecimal() and 0 < int(port) <= PORT_MAX):
            raise ValueError('a list of HOST:PORT, such as ["192.0.2.7:443"]')
        found.append((host.strip("[]"), int(port)))
    return tuple(found)


def _addresses_from_text(text: str) -> object:
    return [address.strip() for address in text.split(",")]


def _addresses_shown(addresses: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses) or "none"


def _unchanged(text: str) -> object:
    return text


BOOLEAN: Final = ValueKind("true or false", _boolean, _boolean_from_text, lambda value: str(value).lower())
COUNT: Final = ValueKind("count", _count, _count_from_text, str, most=1_000_000)
SIZE: Final = ValueKind("size", units.byte_count, _unchanged, units.byte_text, unit="bytes", most=1024**4)
DURATION: Final = ValueKind("duration", units.seconds, _unchanged, units.seconds_text, unit="seconds", most=30 * 86_400)
ADDRESSES: Final = ValueKind("addresses", _addresses, _addresses_from_text, _addresses_shown)


def one_of(*words: str) -> ValueKind:
    """One of these words."""

    def read(value: object) -> str:
        if value not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return str(value)

    return ValueKind("one of " + ", ".join(words), read, str.strip, str)


SetBy = Literal["user", "project"]
USER: Final = "user"
PROJECT: Final = "project"
"""Whose files may have a setting. A project's file comes with a clone, so it is not trusted: it may set what concerns
the project's own instance, and nothing that a hub reads. The user's own file, the environment and flags may set
everything.
"""


class Setting(msgspec.Struct, frozen=True):
    """A row of the table: the annotation of a field of `Limits`, or of `Settings` if its ``limit`` is None.

    ``set_by`` "project": a project's settings file may set it, too. It has no default, so every new setting must state
    it. Numbers must be ``least`` or more. ``default`` and ``limit`` are the field's.
    """

    key: str
    kind: ValueKind
    set_by: SetBy
    meaning: str
    least: float = 1
    default: Any = None
    limit: str | None = None

    @property
    def variable(self) -> str:
        """What sets it in the environment."""
        return PREFIX + self.key.upper()

    def read(self, value: object) -> Any:
        """A value as TOML has it. Raises ValueError, whose text follows the setting's name in a sentence."""
        try:
            found = self.kind.read(value)
        except ValueError as error:
            raise ValueError(f"is {shown(repr(value))}; set it to {error}") from None
        if self.kind.most is not None and not self.least <= found <= self.kind.most:
            least, most = self.kind.shown(self.least), self.kind.shown(self.kind.most)
            raise ValueError(f"is {self.kind.shown(found)}; set it to something from {least} to {most}")
        return found


def settings_of(holder: type[msgspec.Struct], defaults: msgspec.Struct) -> dict[str, Setting]:
    """The setting of each field that has one, with the default of the field."""
    found = {}
    for name in holder.__struct_fields__:
        for setting in getattr(holder.__annotations__[name], "__metadata__", ()):
            found[name] = msgspec.structs.replace(setting, default=getattr(defaults, name))
    return found
