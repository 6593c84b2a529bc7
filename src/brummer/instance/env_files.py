"""The two kinds of env file: an ``env_file``, read as python-dotenv does, and the ``.env`` beside a Procfile, read as
honcho does. Pure.

The two differ: ``export A=1``, quotes within a value, values of several lines. Both leave out what they don't
understand; here the reader learns which lines that were. ``$`` means nothing in either.
"""

import io
import re
import shlex
from collections.abc import Callable
from typing import Final, NamedTuple

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


class Variables(NamedTuple):
    """``left_out``: the numbers of lines, from 1, that are no NAME=value. What they say is not repeated anywhere: there
    may be a secret in it.
    """

    values: dict[str, str]
    left_out: list[int]


Parse = Callable[[str], Variables]


def env_file(text: str) -> Variables:
    """As python-dotenv without interpolation. A name without a value sets nothing."""
    from dotenv.parser import parse_stream  # noqa: PLC0415 - four milliseconds, for those who have such a file

    values: dict[str, str] = {}
    left_out: list[int] = []
    for found in parse_stream(io.StringIO(text.removeprefix("\ufeff"), newline="")):
        if found.error or (found.key and found.value is None) or "\0" in f"{found.key}{found.value}":
            begin = found.original.string
            left_out.append(found.original.line + begin[: len(begin) - len(begin.lstrip())].count("\n"))
        elif found.key and found.value is not None:
            values[found.key] = found.value
    return Variables(values, left_out)


def beside_procfile(text: str) -> Variables:
    """As honcho: a line is cut as a shell cuts it, and the parts after the sign are joined. ``export`` is not
    understood, and ``NAME=`` sets nothing.
    """
    values: dict[str, str] = {}
    left_out: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = list(shlex.shlex(line, posix=True))
        except ValueError:  # a quotation has no end
            words = [line]
        is_assignment = _NAME.match("".join(words[:1])) and words[1:2] == ["="] and "\0" not in line
        if words and not is_assignment:
            left_out.append(number)
        elif words[2:]:
            values[words[0]] = "".join(words[2:]).replace(r"\n", "\n").replace(r"\t", "\t")
    return Variables(values, left_out)
