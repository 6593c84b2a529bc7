"""Collects a list that a tool returns in several answers."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

LISTS: Final = frozenset({"scripts_list", "scripts_status"})
"""Tools of an instance that may return a list in several answers."""


async def whole_list(ask: Callable[[bytes], Awaitable[dict[str, Any]]], **arguments: object) -> dict[str, Any]:
    """The result of a tool that returns a list, collected from all its answers. ``ask`` takes the encoded arguments;
    the result of a failed call is returned unchanged.
    """
    result = whole = await ask(msgspec.json.encode(arguments))
    while cursor := result.get("structuredContent", {}).pop("next_cursor", None):
        result = await ask(msgspec.json.encode({**arguments, "cursor": cursor}))
        if result.get("isError"):
            return result
        for name, part in result["structuredContent"].items():
            if isinstance(part, list):
                whole["structuredContent"][name] = _joined(whole["structuredContent"].get(name, []), part)
    return whole


def _joined(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Both lists; of an entry that has changed meanwhile and is in both, the later one."""
    ids = {_id_of(each) for each in after} - {None}
    return [*(each for each in before if _id_of(each) not in ids), *after]


def _id_of(entry: dict[str, Any]) -> object:
    return entry.get("instance_id") or entry.get("process_id") or entry.get("host")
