"""logs_tail and logs_search of the runs that this instance remembers."""

from functools import partial
from typing import Any

from brummer.contract.tools import TailLogs
from brummer.host.patterns import meter_of_call
from brummer.instance.manager import Manager
from brummer.instance.run import Run
from brummer.logs.query import Holds, answer, wanted_by


def read_log(manager: Manager, arguments: TailLogs, process: Run | str | None, now: float) -> dict[str, Any]:
    """``process`` is one run, or the name of a script whose runs are all meant. ``now`` in seconds since the epoch.
    Raises InvalidArguments, also for an expression that is invalid or too slow.
    """
    wanted, log = wanted_by(arguments), manager.output.log
    name, since_n = (process.name, process.first_n) if isinstance(process, Run) else (process, 0)
    filters: list[Holds] = [process.owns] if isinstance(process, Run) else []
    read = partial(answer, log, wanted, now, _is_in_an_error(manager), process=name, since_n=since_n)
    if not wanted.regex:
        return read(filters)
    meter = meter_of_call(wanted.query, "query")
    matches = meter.pattern.matches
    return meter.search(len(log), log.size_bytes, lambda: read([*filters, lambda line: matches(line.text)]))


def _is_in_an_error(manager: Manager) -> Holds:
    read = [(run, run.printed_errors) for run in manager.runs() if run.printed_errors is not None]
    return lambda line: any(printed.owns(line.n) for run, printed in read if run.owns(line))
