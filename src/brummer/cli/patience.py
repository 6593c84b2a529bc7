"""How long `brum up` and `brum restart` wait for each script. Pure: the time is an argument."""

from datetime import datetime
from typing import Final, NamedTuple

from brummer.contract.processes import ShownProcess
from brummer.instance.listening import LONG_S

READY_S: Final = 30.0
"""The default time for scripts to be ready."""
STAYS_S: Final = 3.0
"""A script that has run for so long has not failed at its start. A person waits no longer for a prompt."""


class Patience(NamedTuple):
    """``until_ready``: wait until scripts are ready, not only until they have run for a moment. ``timeout_s``: for all
    of them; 0 does not wait. ``must_be_ready``: the names of the scripts that name what proves it, or have listened in
    their last run.
    """

    until_ready: bool = False
    timeout_s: float = READY_S
    must_be_ready: frozenset[str] = frozenset()

    def left_s(self, process: ShownProcess, now: datetime) -> float:
        """How much longer to wait for the script; 0 if it is ready, has failed, even if it starts again, or has run for
        long enough.
        """
        if process.status == "ready" or not process.runs or process.next_restart_s is not None:
            return 0.0
        if process.status != "running" or self.is_late(process):
            return self.timeout_s
        return max(0.0, (LONG_S if self.until_ready else STAYS_S) - process.lasted_s(now))

    def is_late(self, process: ShownProcess) -> bool:
        """Whether that it is not ready is a reason to fail."""
        return self.until_ready and process.name in self.must_be_ready
