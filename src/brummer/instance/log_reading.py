"""logs_tail and logs_search: which lines are meant, how many fit, and what the answer leaves out."""

from typing import Any

from brummer.contract.arguments import SearchLogs, TailLogs
from brummer.host.patterns import meter_of_call
from brummer.instance.manager import Manager
from brummer.instance.run import Run
from brummer.logs.bounded_log import Page
from brummer.logs.filters import Holds, at_least, is_since, lines_room, with_neighbours
from brummer.logs.output import Line, answer_size_of

Answer = dict[str, Any]


def read_log(manager: Manager, wanted: TailLogs, process: Run | str | None, now: float) -> Answer:
    """``process`` is one run, or the name of a script whose runs are all meant. ``now`` in seconds since the epoch."""
    page = _read(manager, wanted, process, _filters(manager, wanted, process, now))
    return {"lines": page.entries, **page.position()}


def search_log(manager: Manager, wanted: SearchLogs, process: Run | str | None, now: float) -> Answer:
    """As `read_log`. Raises InvalidArguments for an expression that is invalid or too slow."""
    filters = _filters(manager, wanted, process, now)
    if wanted.regex:
        meter = meter_of_call(wanted.query, "query")
        matches = meter.pattern.matches
        filters.insert(0, lambda line: matches(line.text))
        log = manager.output.log
        page = meter.search(len(log), log.size_bytes, lambda: _read(manager, wanted, process, filters))
    else:
        filters.insert(0, lambda line: wanted.query in line.text)
        page = _read(manager, wanted, process, filters)
    if not wanted.around:
        return {"lines": page.entries, **page.position()}
    around = manager.output.log.around
    return {
        **with_neighbours(page, lines_room(wanted.limit_bytes, wanted.around), lambda hit: around(hit, wanted.around)),
        **page.position(),
    }


def _read(manager: Manager, wanted: TailLogs, process: Run | str | None, filters: list[Holds]) -> Page[Line]:
    name, since_n = (process.name, process.first_n) if isinstance(process, Run) else (process, 0)
    chosen = (lambda line: all(holds(line) for holds in filters)) if filters else None
    log = manager.output.log
    room = lines_room(wanted.limit_bytes, wanted.around if isinstance(wanted, SearchLogs) else 0)
    return log.read(
        wanted.cursor, wanted.limit, chosen, process=name, since_n=since_n, limit_size=room, size_of=answer_size_of
    )


def _filters(manager: Manager, wanted: TailLogs, process: Run | str | None, now: float) -> list[Holds]:
    """The cheap ones first."""
    filters: list[Holds] = []
    if isinstance(process, Run):
        filters.append(process.owns)
    if wanted.since is not None:
        filters.append(is_since(wanted.since, now))
    if wanted.level is not None:
        filters.append(at_least(wanted.level, _is_in_an_error(manager)))
    return filters


def _is_in_an_error(manager: Manager) -> Holds:
    read = [(run, run.problems) for run in manager.runs() if run.problems is not None]
    return lambda line: any(problems.owns(line.n) for run, problems in read if run.owns(line))
