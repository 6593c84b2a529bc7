"""logs_tail and logs_search: which lines are meant, how many fit, and what the answer leaves out."""

from collections.abc import Callable
from typing import Any

from brummer.contract.arguments import SearchLogs, TailLogs
from brummer.core.errors import InvalidArguments
from brummer.instance.manager import Manager
from brummer.instance.run import Run
from brummer.process.numbered import Page
from brummer.process.output import Line, Stamp, size_of
from brummer.process.patterns import BUDGET_S, Pattern

Wanted = Callable[[Line], bool]
Answer = dict[str, Any]


def read_log(manager: Manager, wanted: TailLogs, process: Run | str | None, now: float) -> Answer:
    """``process`` is one run, or the name of a script whose runs are all meant. ``now`` in seconds since the epoch."""
    page = _read(manager, wanted, process, _filters(manager, wanted, process, now))
    return {"lines": page.entries, **page.position()}


def search_log(manager: Manager, wanted: SearchLogs, process: Run | str | None, now: float) -> Answer:
    """As `read_log`. Raises InvalidArguments for an expression that is invalid or too slow."""
    filters = _filters(manager, wanted, process, now)
    if wanted.regex:
        pattern = Pattern(wanted.query, argument="query")
        filters.insert(0, lambda line: pattern.matches(line.text))
        page = pattern.within(BUDGET_S, lambda: _read(manager, wanted, process, filters))
    else:
        filters.insert(0, lambda line: wanted.query in line.text)
        page = _read(manager, wanted, process, filters)
    found = _with_neighbours(manager, page, wanted) if wanted.around else {"lines": page.entries}
    return {**found, **page.position()}


def is_since(since: str | float, now: float) -> Wanted:
    """Whether a line came at that time or later. Raises InvalidArguments for a text that is no time."""
    if isinstance(since, str):
        from datetime import UTC, datetime  # noqa: PLC0415 - not on the start path

        try:
            moment = datetime.fromisoformat(since)
        except ValueError:
            raise InvalidArguments(f"since {since!r} is neither a time nor seconds ago", argument="since") from None
        at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    else:
        at = now - since
    stamp = Stamp()(max(0.0, at))
    return lambda line: line.at >= stamp


def _read(manager: Manager, wanted: TailLogs, process: Run | str | None, filters: list[Wanted]) -> Page[Line]:
    name, since_n = (process.name, process.first_n) if isinstance(process, Run) else (process, 0)
    chosen = (lambda line: all(holds(line) for holds in filters)) if filters else None
    log = manager.output.log
    return log.read(wanted.cursor, wanted.limit, chosen, process=name, since_n=since_n, limit_size=wanted.limit_bytes)


def _filters(manager: Manager, wanted: TailLogs, process: Run | str | None, now: float) -> list[Wanted]:
    """The cheap ones first."""
    filters: list[Wanted] = []
    if isinstance(process, Run):
        filters.append(process.owns)
    if wanted.since is not None:
        filters.append(is_since(wanted.since, now))
    if wanted.level is not None:
        filters.append(_at_least(wanted.level, manager))
    return filters


def _at_least(level: str, manager: Manager) -> Wanted:
    """By its own words, or as a part of an error."""
    from brummer.process.levels import LEVELS, level_of  # noqa: PLC0415 - asked for by few

    names: tuple[str, ...] = LEVELS
    serious = names[: names.index(level) + 1]
    read = [(run, run.problems) for run in manager.runs() if run.problems is not None]

    def holds(line: Line) -> bool:
        if level_of(line.text) in serious:
            return True
        return any(problems.owns(line.n) for run, problems in read if run.owns(line))

    return holds


def _with_neighbours(manager: Manager, page: Page[Line], wanted: SearchLogs) -> Answer:
    """Neighbours fill as many bytes again; ``without_context`` counts the hits whose own did not fit."""
    shown = {line.n: line for line in page.entries}
    room, without = wanted.limit_bytes, 0
    for hit in page.entries:
        before, after = manager.output.log.around(hit, wanted.around)
        new = [line for line in (*before, *after) if line.n not in shown]
        if (size := sum(map(size_of, new))) > room:
            without += 1
            continue
        room -= size
        shown.update((line.n, line) for line in new)
    answer: Answer = {"lines": [shown[n] for n in sorted(shown)], "hits": [line.n for line in page.entries]}
    return {**answer, "without_context": without} if without else answer
