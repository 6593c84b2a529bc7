"""scripts_status and changes_since of all instances, and the one cursor of all of them.

That cursor is the text ``*KEY.LINES.CHANGES~…``, with one part for each instance. A key stands for one run of one
instance. An instance whose part is missing, because it is new or was started again, is read from its oldest entry, and
the answer names it in ``cursor_reset``; the others go on where they stood.
"""

import asyncio
import hashlib
import re
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, Final

from brummer.contract.paging import FAILED, ListEntry, key_of, paged
from brummer.contract.tools import ChangesSince, ScriptsStatus
from brummer.core.errors import InvalidArguments, NotFound, shown
from brummer.core.json_text import encode
from brummer.discovery.record import Record
from brummer.host.clocks import wall
from brummer.hub.everyone import Answer, answer_of, answers_of, question
from brummer.hub.fan_out import FanOut, incomplete
from brummer.peers.instance_entry import InstanceEntry
from brummer.wire.mcp.tool_results import BUDGET_BYTES, ENVELOPE_BYTES

KEY_BYTES: Final = 6
"""48 bits: no two of a few hundred instances have the same."""

_CURSOR: Final = re.compile(r"\*(?:[\w-]{8}\.\d{1,19}\.\d{1,19}(?:~|$))*", re.ASCII)

UNKNOWN: Final = "unknown.0.0"
"""A cursor of no generation: the instance begins with its oldest entry, and says so."""


def _key_of(entry: InstanceEntry) -> str:
    generation = entry.record.generation if isinstance(entry.record, Record) else ""
    digest = hashlib.sha256(f"{entry.id}\0{generation}".encode(errors="surrogatepass")).digest()
    return urlsafe_b64encode(digest[:KEY_BYTES]).decode()


class InstancePlaces:
    """The places in all instances that a cursor names. ``text`` None: none. Raises InvalidArguments."""

    def __init__(self, text: str | None) -> None:
        self.is_given = text is not None
        if text is not None and not _CURSOR.fullmatch(text):
            raise InvalidArguments(
                f"cursor {shown(text)!r} is not one of an answer about all instances", argument="cursor"
            )
        parts = [part for part in (text or "*")[1:].split("~") if part]
        self._numbers = {key: numbers for key, _, numbers in (part.partition(".") for part in parts)}

    def cursor_for(self, entry: InstanceEntry) -> str | None:
        """What is passed to the instance; None without a cursor."""
        if not self.is_given or not isinstance(entry.record, Record):
            return None
        numbers = self._numbers.get(_key_of(entry))
        return f"{entry.record.generation}.{numbers}" if numbers else UNKNOWN


def cursor_of(everyone: Iterable[InstanceEntry], places: Mapping[str, str | None]) -> str:
    """The cursor of all; ``places``: that of each instance, by id, as the instance gave it."""
    parts = []
    for entry in everyone:
        generation, _, numbers = (places.get(entry.id) or UNKNOWN).partition(".")
        if isinstance(entry.record, Record) and generation == entry.record.generation:
            parts.append(f"{_key_of(entry)}.{numbers}")
    return "*" + "~".join(parts)


async def status_of_all(everyone: Sequence[InstanceEntry], wanted: ScriptsStatus) -> Answer:
    """As `scripts_status`; each process has its ``instance``. With a name only of the instances that have it. Raises
    NotFound.
    """
    arguments: dict[str, object] = {} if wanted.name is None else {"name": wanted.name}
    answers = await answers_of(everyone, "scripts_status", lambda _: arguments)
    if wanted.name is not None:
        known = {name: answer for name, answer in answers.items() if _code(answer) != NotFound.code}
        if not known:
            raise NotFound(f"no instance has a script or process {shown(wanted.name)!r}")
        answers = known
    entries = [
        ListEntry(
            key_of(int(each.get("status") not in FAILED), f"{name}/{each.get('process_id')}"), "processes", content
        )
        for name, answer in answers.items()
        for each in answer.get("processes", ())
        for content in ({"instance": name, **each},)
    ]
    cursor = cursor_of(everyone, _cursors(answers))
    answer = paged("scripts_status", entries, wanted.cursor, now_s=wall(), reserved=cursor, **_failures(answers))
    del answer["reserved"]  # it has kept the space for the cursor
    return {**answer, "cursor": cursor}


async def first_changes_of_all(everyone: Sequence[InstanceEntry], wanted: ChangesSince, places: int) -> Answer:
    """As `changes_of_all`. If there is nothing, wait ``wait_s`` for the first instance that has news. ``places``: how
    many can be waited on at a time; see `FanOut`.
    """
    answer = await changes_of_all(everyone, wanted)
    if not wanted.wait_s or answer["changes"] or "cursor_reset" in answer:
        return answer
    read_until = InstancePlaces(answer["cursor"])

    async def ask(entry: InstanceEntry, wait_s: float, _since: str | None) -> Answer:
        asked = question("changes_since", {"cursor": read_until.cursor_for(entry), "limit": 1, "wait_s": wait_s})
        asked.wait_for_news(wait_s)
        content = await answer_of(entry, asked)
        has_news = bool(content.get("changes") or content.get("cursor_reset"))
        return {**content, "matched": has_news, "waited_s": wait_s}

    ends_s = asyncio.get_running_loop().time() + wanted.wait_s
    await FanOut(everyone, places, wanted.wait_s, ask).result()
    answer = await changes_of_all(everyone, wanted)
    if not answer["changes"] and "cursor_reset" not in answer:  # all that could be waited on have failed
        await asyncio.sleep(ends_s - asyncio.get_running_loop().time())
    return answer


async def changes_of_all(everyone: Sequence[InstanceEntry], wanted: ChangesSince) -> Answer:
    """As `changes_since`, in the order of time; each change has its ``instance``."""
    given = InstancePlaces(wanted.cursor)
    before = {entry.id: given.cursor_for(entry) for entry in everyone}

    def arguments_of(entry: InstanceEntry) -> dict[str, object]:
        cursor = before[entry.id]
        return {"limit": wanted.limit, **({} if cursor is None else {"cursor": cursor})}

    answers = await answers_of(everyone, "changes_since", arguments_of)
    each = [[{"instance": name, **change} for change in answer.get("changes", ())] for name, answer in answers.items()]
    merged = list(merge(*each, key=itemgetter("at")))
    head: Answer = {"dropped": sum(answer.get("dropped", 0) for answer in answers.values()), **_failures(answers)}
    if reset := [name for name, answer in answers.items() if answer.get("cursor_reset")]:
        head["cursor_reset"] = reset
    left_bytes = BUDGET_BYTES - ENVELOPE_BYTES - 2 * len(encode(head)) - 60 * len(everyone)
    if not given.is_given:
        shown_ones = _fitting(reversed(merged), wanted.limit, left_bytes)[::-1]
        omitted = len(merged) - len(shown_ones) + sum(answer.get("omitted", 0) for answer in answers.values())
        cursor = cursor_of(everyone, _cursors(answers))
        return {"changes": shown_ones, "cursor": cursor, **head, **({"omitted": omitted} if omitted else {})}
    shown_ones = _fitting(merged, wanted.limit, left_bytes)
    counts = Counter(change["instance"] for change in shown_ones)
    places = {name: _after(answer, counts[name], before[name]) for name, answer in answers.items()}
    is_more = len(shown_ones) < len(merged) or any(answer.get("more") for answer in answers.values())
    cursor = cursor_of(everyone, places)
    return {"changes": shown_ones, "cursor": cursor, **head, **({"more": True} if is_more else {})}


def _after(answer: Answer, count: int, before: str | None) -> str | None:
    """The place after so many changes of an answer. An instance that did not answer stays where it was."""
    changes, cursor = answer.get("changes", []), answer.get("cursor")
    if cursor is None or count == len(changes):
        return cursor or before
    if count == 0 and before != UNKNOWN:
        return before
    return f"{cursor.rpartition('.')[0]}.{changes[count - 1]['n'] if count else 0}"


def _fitting(changes: Iterable[Answer], limit: int, left_bytes: int) -> list[Answer]:
    """As many as fit, at least one."""
    fitting: list[Answer] = []
    for change in islice(changes, limit):
        left_bytes -= 2 * len(encode(change))
        if left_bytes < 0 and fitting:
            break
        fitting.append(change)
    return fitting


def _cursors(answers: Mapping[str, Answer]) -> dict[str, str | None]:
    return {name: answer.get("cursor") for name, answer in answers.items()}


def _code(answer: Answer) -> Any:
    return answer.get("error", {}).get("code")


def _failures(answers: Mapping[str, Answer]) -> Answer:
    """``incomplete``: who did not answer, or has more to tell than one answer has space for."""
    more = {"code": "more", "message": "it has more scripts; ask this instance alone"}
    failed = [(name, answer["error"]) for name, answer in answers.items() if "error" in answer]
    return incomplete([*failed, *((name, more) for name, answer in answers.items() if "next_cursor" in answer)])
