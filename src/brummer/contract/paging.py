"""Lists that take several answers: as many entries as fit into the limit, and a cursor after the last of them.

A cursor holds the key of the last entry that was given, and keys sort as the entries do, so entries that come and go
between two answers shift nothing. So a key is made of the entry's name, never of its position in the list. An entry may
also move: when an instance fails, its place is then among the entries that were given already. So a cursor also has the
time of the first answer, and entries that have changed since then come (again) at the end.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from brummer.contract import texts
from brummer.core.errors import InvalidArguments, shown
from brummer.core.json_text import encode
from brummer.wire.mcp.tool_results import BUDGET_BYTES, ENVELOPE_BYTES

_CURSOR: Final = re.compile(r"(\d\|[^\x00-\x1f]+)@(\d{1,15})(\+?)")

ENTRY_BYTES: Final = 2
"""Bytes around an entry: a comma, and the end of a line."""

FEW: Final = 8
"""Processes that need no paging: each has some 300 bytes, as data and as text, and the answer is bounded anyway."""

FAILED: Final = frozenset({"failed", "crash-looping", "lost"})
"""The states of a process that are shown first. ``lost``: its instance died before the process ended."""

LAST_MS: Final = 10**15 - 1
"""Later than any time: the difference from it sorts the latest time first."""

KEY_BYTES: Final = 120
"""The limit of the name in a key: each answer contains the cursor twice."""


class ListEntry(NamedTuple):
    """``key``: see `key_of`. ``section``: the member of the answer for it.

    ``changed_s``: the time of its last change, in seconds since the epoch; 0: it keeps its place.
    """

    key: str
    section: str
    content: dict[str, Any]
    changed_s: float = 0.0


def key_of(rank: int, name: str) -> str:
    """Sorts by ``rank``, a digit, and then by ``name``. A cursor is one short line, so a digest replaces the rest of a
    name that is long, or has invisible characters.
    """
    encoded = name.encode(errors="surrogatepass")
    if len(encoded) > KEY_BYTES or not name.isprintable():
        import hashlib  # noqa: PLC0415 - for a rare case

        begin = encoded[: KEY_BYTES // 2].decode(errors="ignore")
        plain = "".join(each for each in begin if each.isprintable())
        name = f"{plain}~{hashlib.sha256(encoded).hexdigest()[:16]}"
    return f"{rank}|{name}"


class _Cursor(NamedTuple):
    """``key``: of the last entry that was given. ``began_ms``: the time of the first answer. ``repeats``: all entries
    have been given, and now follow those that have changed since.
    """

    key: str = ""
    began_ms: int = 0
    repeats: bool = False

    def is_before(self, changed_s: float) -> bool:
        """The change came after the first answer."""
        return changed_s > 0 and changed_s * 1000 >= self.began_ms

    def __str__(self) -> str:
        return f"{self.key}@{self.began_ms}{'+' if self.repeats else ''}"


def _cursor(text: str | None, now_s: float) -> _Cursor:
    """Raises InvalidArguments."""
    if text is None:
        return _Cursor(began_ms=int(now_s * 1000))
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise InvalidArguments(
            f"cursor {shown(text)!r} is not the next_cursor of an earlier answer of this list", argument="cursor"
        )
    return _Cursor(match[1], int(match[2]), bool(match[3]))


def paged(tool: str, entries: Iterable[ListEntry], cursor: str | None, *, now_s: float, **head: Any) -> dict[str, Any]:
    """The answer: ``head``, each list of the tool (`texts.SECTIONS`) with its entries, and ``next_cursor`` if there are
    more. ``now_s``: seconds since the epoch. Raises InvalidArguments for an invalid cursor.
    """
    place = _cursor(cursor, now_s)
    answer: dict[str, Any] = {**head, **{section: [] for section in texts.SECTIONS[tool]}}
    left_bytes = BUDGET_BYTES - ENVELOPE_BYTES - 2 * len(encode(head))
    rest = _rest(entries, place)
    last = None
    for entry, repeats in rest:
        left_bytes -= _size_of(entry.content, texts.entry(tool, entry.section, entry.content))
        if left_bytes < 0 and last is not None:
            return {**answer, "next_cursor": str(last)}
        answer[entry.section].append(entry.content)
        last = _Cursor(entry.key, place.began_ms, repeats)
    return answer


def _rest(entries: Iterable[ListEntry], place: _Cursor) -> list[tuple[ListEntry, bool]]:
    """The entries that remain, each with True if it is given because it has changed."""
    ordered = sorted(_unique(entries), key=lambda entry: entry.key)
    after = [entry for entry in ordered if entry.key > place.key]
    if place.repeats:
        return [(entry, True) for entry in after if place.is_before(entry.changed_s)]
    changed = [entry for entry in ordered if entry.key <= place.key and place.is_before(entry.changed_s)]
    return [*((entry, False) for entry in after), *((entry, True) for entry in changed)]


def _unique(entries: Iterable[ListEntry]) -> Iterable[ListEntry]:
    """Number the entries that have the same key."""
    counts: Counter[str] = Counter()
    for entry in entries:
        counts[entry.key] += 1
        count = counts[entry.key]
        yield entry if count == 1 else entry._replace(key=f"{entry.key}~{count:06}")


def _size_of(content: object, text: str) -> int:
    """The size of an entry in an answer: as data, and as text for reading."""
    return len(encode(content)) + len(encode(text)) + ENTRY_BYTES


def listed(tool: str, entries: Sequence[ListEntry], cursor: str | None) -> dict[str, Any]:
    """`paged`, but if one answer has all entries, they keep their order; otherwise they are sorted by key."""
    if cursor is None:
        as_they_come = [entry._replace(key=key_of(0, f"{number:06}")) for number, entry in enumerate(entries)]
        answer = paged(tool, as_they_come, None, now_s=0.0)
        if "next_cursor" not in answer:
            return answer
    return paged(tool, entries, cursor, now_s=0.0)


def _is_well(process: dict[str, Any]) -> bool:
    return process["status"] not in FAILED


def latest_processes(
    found: Sequence[dict[str, Any]], cursor: str | None, place: str | None = None, *, now_s: float
) -> dict[str, Any]:
    """The answer of scripts_status for the latest run of each script: failed ones first, and by name if it takes
    several answers. ``place``: the cursor of the output and the changes at this moment.
    """
    if cursor is None and (len(found) <= FEW or len(encode(found)) <= (BUDGET_BYTES - ENVELOPE_BYTES) // 2):
        return {"processes": sorted(found, key=_is_well), **_at(place)}
    entries = (
        ListEntry(
            key_of(int(_is_well(each)), each["name"]),
            "processes",
            each,
            _changed_s(each) if cursor is not None else 0.0,
        )
        for each in found
    )
    return {**paged("scripts_status", entries, cursor, now_s=now_s), **_at(place)}


def processes_of_one(found: Sequence[dict[str, Any]], cursor: str | None, place: str | None = None) -> dict[str, Any]:
    """The answer of scripts_status for the runs of one script: in their order, or from the latest start to the first if
    it takes several answers. ``place`` as above.
    """
    entries = [
        ListEntry(key_of(0, f"{LAST_MS - _ms_of(each.get('started_at')):015}"), "processes", each) for each in found
    ]
    return {**listed("scripts_status", entries, cursor), **_at(place)}


def _at(place: str | None) -> dict[str, Any]:
    return {} if place is None else {"cursor": place}


def _changed_s(process: dict[str, Any]) -> float:
    """The time at which it came to its state, if that is known."""
    return _ms_of(process.get("ended_at") or process.get("started_at")) / 1000


def _ms_of(at: object) -> int:
    """Milliseconds since the epoch; 0 if ``at`` is not a time."""
    try:
        return int(datetime.fromisoformat(at).timestamp() * 1000)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return 0
