"""Kinds of values that a setting may have: how each is read from TOML and from text, and how it is shown. Pure."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from brummer.settings import units

PORT_MAX: Final = 65_535

_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})


class Kind(msgspec.Struct, frozen=True):
    """``read`` takes what TOML may hold, ``from_text`` turns a text into such a thing, as a variable or a flag has it.

    ``read`` raises ValueError, whose text says what would do. ``unit`` is that of the values read; they are numbers
    where there is a ``most``.
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


BOOLEAN: Final = Kind("true or false", _boolean, _boolean_from_text, lambda value: str(value).lower())
COUNT: Final = Kind("count", _count, _count_from_text, str, most=1_000_000)
SIZE: Final = Kind("size", units.byte_count, _unchanged, units.byte_text, unit="bytes", most=1024**4)
DURATION: Final = Kind("duration", units.seconds, _unchanged, units.seconds_text, unit="seconds", most=30 * 86_400)
ADDRESSES: Final = Kind("addresses", _addresses, _addresses_from_text, _addresses_shown)
