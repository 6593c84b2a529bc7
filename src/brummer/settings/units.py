"""Durations and sizes as people write them: "30s", "1.5h", "2MiB", "64kB". Pure."""

import re
from collections.abc import Mapping
from typing import Final

SECONDS: Final = {"d": 86_400, "h": 3600, "m": 60, "min": 60, "s": 1, "ms": 0.001}
BYTES: Final = {
    "TiB": 1024**4,
    "TB": 1000**4,
    "GiB": 1024**3,
    "GB": 1000**3,
    "MiB": 1024**2,
    "MB": 1000**2,
    "KiB": 1024,
    "kB": 1000,
    "B": 1,
}

LARGEST: Final = 10**15
"""Far beyond any limit, and a floating-point number still tells it from the next."""


def seconds(value: object) -> float:
    """Of a text, or of a bare number, which is seconds. Raises ValueError, whose text describes a valid value."""
    return _quantity(value, SECONDS, 'a duration, such as "30s", "5m" or "1.5h"')


def byte_count(value: object) -> int:
    """Of a text, or of a bare number, which is bytes. Raises ValueError, whose text describes a valid value."""
    return round(_quantity(value, BYTES, 'a size, such as "64kB" or "2MiB"'))


def seconds_text(value: float) -> str:
    """In the largest unit of which it is a whole number, to the millisecond: 600 → "10m"."""
    return _text(value, SECONDS) or f"{round(value, 3):.15g}s"


def byte_text(value: int) -> str:
    """In the largest unit of which it is a whole number: 65536 → "64KiB"."""
    return _text(value, BYTES) or f"{value}B"


def span(seconds: float) -> str:
    """A time for people, with two significant figures."""
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    if seconds < SECONDS["min"]:
        return f"{seconds:.0f} s"
    for unit, part in (("d", "h"), ("h", "min")):
        if seconds >= (unit_s := SECONDS[unit]):
            parts = int(seconds % unit_s // SECONDS[part])
            return f"{int(seconds // unit_s)} {unit}" + (f" {parts} {part}" if parts else "")
    return f"{int(seconds // SECONDS['min'])} min"


def _quantity(value: object, units: Mapping[str, float], what: str) -> float:
    number = _in_base_unit(value, units) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= LARGEST:
        raise ValueError(what)
    return number


def _in_base_unit(text: str, units: Mapping[str, float]) -> float | None:
    """Upper and lower case are the same: millibytes and megaseconds are not in use."""
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) *([A-Za-z]*)", text.strip())
    factors = {"": 1.0, **{name.lower(): factor for name, factor in units.items()}}
    factor = factors.get(match[2].lower()) if match else None
    return float(match[1]) * factor if match and factor else None


def _text(value: float, units: Mapping[str, float]) -> str | None:
    for name, factor in units.items():
        number = value / factor
        if number >= 1 and number == int(number):
            return f"{int(number)}{name}"
    return None
