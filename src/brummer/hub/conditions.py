"""What an instance's process does, seen from outside: it tells a stopped one from a busy one from one that hangs."""

from collections.abc import Callable

from brummer.discovery.record import Record
from brummer.host.real_system import REAL
from brummer.host.system import Processes
from brummer.link.health import Condition


def condition_of(record: Record, processes: Processes = REAL.processes) -> Callable[[], Condition]:
    """Looks at the process when called (16 µs on Linux). ``busy``: it used CPU time since the last look."""
    if not processes.same_namespace(record.identity):
        return lambda: "unknown"
    ticks = 0

    def look() -> Condition:
        nonlocal ticks
        state = processes.process_state(record.pid)
        if state is None or state.state == "zombie" or not processes.is_running(record.identity):
            return "gone"
        before, ticks = ticks, state.cpu_ticks
        if state.state == "stopped":
            return "stopped"
        return "busy" if state.state == "running" or ticks > before > 0 else "idle"

    return look
