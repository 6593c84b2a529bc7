"""The table of `brum ls`: what runs in each project and what has failed, in the columns of the terminal. Pure."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from brummer.cli.colour import BOLD, RED, Paint, shortened
from brummer.cli.process_table import NOTHING
from brummer.cli.table import aligned, joined, width
from brummer.contract.processes import ENDED, FAILED
from brummer.discovery.record import displayable

TITLES: Final = ("PROJECT", "RUNNING", "URL", "STARTED BY", "DIRECTORY")
GAP: Final = 2
LEAST: Final = (8, 12, 0, 8, 12)
"""Columns that are left of each cell when the terminal is too narrow; a URL that is cut is of no use."""
CUT_FIRST: Final = (4, 3, 1, 0)
STARTED_BY: Final = 3
"""The column that is left out if no agent has started one of the instances."""


class ScriptSummary(msgspec.Struct):
    """A script in an entry of `instances_list`."""

    name: str
    status: str = "unknown"
    urls: list[str] = []


class ShownInstance(msgspec.Struct):
    """The fields of an entry of `instances_list` that are shown. ``scripts`` is None where they are not known."""

    instance_id: str
    name: str = ""
    directory: str = ""
    state: str = "unknown"
    scripts: list[ScriptSummary] | None = None
    more_scripts: bool = False
    started_by: str = ""
    host: str = ""

    @property
    def called(self) -> str:
        """Its name, with its machine if that is another one."""
        return f"{self.name}@{self.host}" if self.name and self.host else self.name

    @property
    def failed(self) -> list[str]:
        return [script.name for script in self.scripts or () if script.status in FAILED]

    @property
    def running(self) -> str:
        """How many scripts run of those that were started, and which have failed."""
        if self.state != "ready" or self.scripts is None:
            return self.state
        if not self.scripts:
            return NOTHING
        count = sum(script.status not in ENDED for script in self.scripts)
        parts = [f"{count} of {len(self.scripts)}{'+' if self.more_scripts else ''}"]
        if failed := self.failed:
            parts.append(f"{failed[0]} failed" if len(failed) == 1 else f"{len(failed)} failed: {', '.join(failed)}")
        return ", ".join(parts)

    @property
    def url(self) -> str:
        urls = [url for script in self.scripts or () for url in script.urls]
        return urls[0] if len(urls) == 1 else f"{urls[0]} +{len(urls) - 1}" if urls else NOTHING


def summaries_of(answer: dict[str, Any]) -> list[ShownInstance]:
    """The entries of `instances_list`; invalid fields of an entry, as of another version, are left out."""
    return [_as_summary(each) for each in answer.get("instances", [])]


def _as_summary(entry: dict[str, Any]) -> ShownInstance:
    try:
        return msgspec.convert(entry, ShownInstance)
    except msgspec.ValidationError:
        return ShownInstance(str(entry.get("instance_id", NOTHING)))


def lines_of(instances: Sequence[ShownInstance], home: str, columns: int | None, paint: Paint) -> Iterator[str]:
    """A heading, and a line for each. ``columns`` None: as wide as it is."""
    names = [each.called for each in instances]
    rows = [
        [
            displayable(each.called if each.called and names.count(each.called) == 1 else each.instance_id),
            displayable(each.running),
            displayable(each.url),
            displayable(each.started_by or NOTHING),
            displayable(each.directory if each.host else _from_home(each.directory, home)),
        ]
        for each in instances
    ]
    shown = [n for n in range(len(TITLES)) if n != STARTED_BY or any(each.started_by for each in instances)]
    fitted = aligned([[row[n] for n in shown] for row in _fitted([list(TITLES), *rows], shown, columns)])
    yield paint.styled(joined(fitted[0]), BOLD)
    for each, (name, running, *rest) in zip(instances, fitted[1:], strict=True):
        is_wrong = each.failed or each.state != "ready"
        yield joined([paint.name(name), paint.styled(running, RED) if is_wrong else running, *rest])


def _from_home(directory: str, home: str) -> str:
    inside = os.path.join(home, "")  # noqa: PTH118 - the directory may be of another system
    return f"~/{directory.removeprefix(inside)}" if directory.startswith(inside) else directory


def _fitted(rows: list[list[str]], shown: Sequence[int], columns: int | None) -> list[list[str]]:
    """The cells, cut where those that are ``shown`` are wider than that; of a directory the end is kept."""
    if columns is None:
        return rows
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    excess = sum(widths[n] for n in shown) + GAP * (len(shown) - 1) - columns
    for n in filter(shown.__contains__, CUT_FIRST):
        less = min(max(0, excess), max(0, widths[n] - LEAST[n]))
        widths[n], excess = widths[n] - less, excess - less
    return [
        [
            *(shortened(cell, columns) for cell, columns in zip(cells, widths, strict=False)),
            _end_of(directory, widths[-1]),
        ]
        for *cells, directory in rows
    ]


def _end_of(cell: str, columns: int) -> str:
    if width(cell) <= columns:
        return cell
    while cell and width(cell) >= columns:
        cell = cell[1:]
    return f"…{cell}"
