"""The process that has the port that a script wants: it is named, and never signalled."""

import msgspec
from msgspec import UNSET, UnsetType

from brummer.host.ports import listeners
from brummer.process.guard import RUN_MARK


class PortOwner(msgspec.Struct, frozen=True):
    """``pid`` 0 and no command where they are hidden from us. ``script``: the run of this instance that it belongs to;
    ``foreign``: it belongs to a run of another instance.
    """

    port: int
    pid: int
    command: str
    script: str | UnsetType = UNSET
    foreign: str | UnsetType = UNSET

    def in_words(self) -> str:
        if not self.pid:
            return f"port {self.port} is taken by another user's process"
        known = f", which is {self.script} of this project" if self.script else ""
        known = f", which is {self.foreign} of another Brummer instance" if self.foreign else known
        return f"port {self.port} is taken by process {self.pid} ({self.command}){known}"


def owner_of(port: int, generation: str) -> PortOwner | None:
    """The process that listens there; ``generation`` is ours. Scans all processes: use a thread."""
    from brummer.host.process_facts import command_line, inherited_variable  # noqa: PLC0415 - for this alone

    found = listeners(range(port, port + 1)).get(port)
    if found is None:
        return None
    pid, name = found
    if not pid:
        return PortOwner(port, 0, "")
    whose, _, process_id = (inherited_variable(pid, RUN_MARK) or "").partition("/")
    return PortOwner(
        port,
        pid,
        command_line(pid) or name,
        script=process_id if whose == generation else UNSET,
        foreign=process_id if whose and whose != generation else UNSET,
    )
