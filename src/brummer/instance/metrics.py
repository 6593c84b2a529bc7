"""An instance's numbers as metrics. `docs/operators.md` explains each; a test holds the two together."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from brummer import __version__
from brummer.core.metrics import Family, Metric
from brummer.instance.counting import Counting
from brummer.logs.output import LINE_BYTES

BUILD = Metric("brummer_build_info", "gauge", "1, labelled with the version that runs", ("version",))
SERVED = Metric("brummer_instance_calls_total", "counter", "Calls that ran here, by tool and end", ("tool", "outcome"))
DURATION = Metric("brummer_instance_call_duration_seconds", "histogram", "How long they ran", ("tool",))
RUNNING = Metric("brummer_instance_calls_running", "gauge", "Calls that run now")
ENTRIES = Metric("brummer_ledger_entries", "gauge", "Calls that the ledger remembers")
LEDGER_BYTES = Metric("brummer_ledger_bytes", "gauge", "Bytes of results that the ledger holds")
MEMORY = Metric("brummer_memory_limit_bytes", "gauge", "The limits on memory that are in force", ("limit",))
REFUSED = Metric("brummer_memory_refusals_total", "counter", "Calls that were refused at the hard limit on memory")
SCRIPT_EVENTS = Metric("brummer_script_events_total", "counter", "What happened to runs of scripts", ("kind",))
RESTARTS = Metric("brummer_script_restarts_total", "counter", "Starts of a script that had run before")
SCRIPTS = Metric("brummer_scripts", "gauge", "Scripts, by the state of their latest run", ("state",))
SCRIPT_CPU = Metric(
    "brummer_script_cpu_seconds_total", "counter", "CPU time of the latest run of a script, with all its processes",
    ("script",),
)  # fmt: skip
SCRIPT_MEMORY = Metric("brummer_script_memory_bytes", "gauge", "Resident memory of all its processes", ("script",))
SCRIPT_PROCESSES = Metric("brummer_script_processes", "gauge", "Processes of a script", ("script",))
LINES = Metric("brummer_output_lines_total", "counter", "Lines that scripts have printed")
DROPPED = Metric(
    "brummer_output_dropped_lines_total", "counter", "Lines that were dropped for newer ones, and can't be read"
)
PRINTED = Metric("brummer_output_bytes_total", "counter", "Bytes of text that scripts have printed")
KEPT = Metric("brummer_output_kept_bytes", "gauge", "Bytes that the lines take which can still be read")

ALL: Final = (
    BUILD, SERVED, DURATION, RUNNING, ENTRIES, LEDGER_BYTES, MEMORY, REFUSED, SCRIPT_EVENTS, RESTARTS, SCRIPTS,
    SCRIPT_CPU, SCRIPT_MEMORY, SCRIPT_PROCESSES, LINES, DROPPED, PRINTED, KEPT,
)  # fmt: skip
"""The metrics of an instance."""


def families(counting: Counting) -> list[Family]:
    """All of `ALL`, now."""
    return [*_of_calls(counting), *_of_scripts(counting)]


def _of_calls(counting: Counting) -> Iterator[Family]:
    yield BUILD.family({(__version__,): 1})
    yield SERVED.family({labels: count for labels, count in counting.calls.ended.items()})  # noqa: C416 — of another type
    yield DURATION.family({(tool,): duration for tool, duration in counting.calls.durations.items()})
    yield RUNNING.single(counting.calls.running)
    yield ENTRIES.single(len(counting.ledger))
    yield LEDGER_BYTES.single(counting.ledger.size_bytes)
    yield MEMORY.family({("soft",): counting.memory.soft_bytes, ("hard",): counting.memory.hard_bytes})
    yield REFUSED.single(counting.memory.refused)


def _of_scripts(counting: Counting) -> Iterator[Family]:
    log = counting.manager.output.log
    yield SCRIPT_EVENTS.family({(kind,): count for kind, count in counting.script_events.items()})
    yield RESTARTS.single(counting.restarts)
    states = Counter(run.state for run in counting.manager.current_runs())
    yield SCRIPTS.family({(state,): count for state, count in states.items()})
    yield from _of_usage(counting)
    yield LINES.single(log.last_n)
    yield DROPPED.single(log.last_n - len(log))
    yield PRINTED.single(log.seen_bytes - LINE_BYTES * log.last_n)
    yield KEPT.single(log.size_bytes)


def _of_usage(counting: Counting) -> Iterator[Family]:
    """As it was measured last: who asks for metrics has it measured before."""
    manager = counting.manager
    runs = manager.current_runs()
    cpu_s = {run.name: run.child.tree.usage.cpu_s for run in runs if run.child is not None}
    samples = {run.name: sample for run in runs if (sample := manager.usage.sample_of(run)) is not None}
    yield SCRIPT_CPU.family({(name,): seconds for name, seconds in cpu_s.items() if seconds is not None})
    yield SCRIPT_MEMORY.family(
        {(name,): each.resident_bytes for name, each in samples.items() if each.resident_bytes is not None}
    )
    yield SCRIPT_PROCESSES.family({(name,): each.processes for name, each in samples.items()})
