"""One instance or server as the hub knows it."""

import asyncio

import msgspec
from msgspec import UNSET, UnsetType

from brummer.calls.basic import BasicLink
from brummer.calls.caller import Caller
from brummer.discovery.record import Record
from brummer.link.link import Link
from brummer.link.status import LastError
from brummer.settings.servers import Server


class InstanceSummary(msgspec.Struct, frozen=True):
    """An item of ``instances_list``; the hub adds the scripts. ``mcp_url``: its own MCP server. ``started_by``: the
    agent for which it was started; left out otherwise. ``host``: its machine, left out for this one; ``directory`` and
    ``pid`` are that machine's.
    """

    instance_id: str
    name: str
    directory: str
    mcp_url: str
    pid: int | None
    state: str
    since_s: float
    reason: str
    last_error: LastError | None
    next_retry_s: float | None
    started_by: str | UnsetType = UNSET
    host: str | UnsetType = UNSET


class InstanceEntry(msgspec.Struct, eq=False):
    """One instance or server: its facts, the link with the task that runs it, and the caller for calls over it."""

    record: Record | Server
    link: Link | BasicLink
    caller: Caller | BasicLink
    task: asyncio.Task[None]
    robust: Link | None = None
    """The link, unless it is a basic one."""
    is_gone: bool = False
    """As discovery says; its link hears of it a moment later. A foreign server never is."""
    repeatable: frozenset[str] = frozenset()
    """The tools of a foreign server that may be sent twice, by its own hints."""
    hinted_s: float | None = None
    """Since when its link had been as it was when it gave them: who comes back may be another version of it."""
    host: str = ""
    """The name of the other machine on which it runs, always; empty for this one, and for a server that is not ours."""

    def __post_init__(self) -> None:
        self.host = "" if isinstance(self.record, Server) else self.record.host_name

    @property
    def has_hinted(self) -> bool:
        return self.hinted_s == self.link.since_s

    def take_hints(self, repeatable: frozenset[str]) -> None:
        self.repeatable, self.hinted_s = repeatable, self.link.since_s

    def forget_hints(self) -> None:
        self.hinted_s = None

    @property
    def is_waited_for(self) -> bool:
        """A call waits for its answer, or for it to come back."""
        return self.caller.is_waited_for

    @property
    def id(self) -> str:
        return self.record.name if isinstance(self.record, Server) else self.record.key

    @property
    def pid(self) -> int | None:
        """None of a server that is not ours."""
        return None if isinstance(self.record, Server) else self.record.pid

    @property
    def directory(self) -> str:
        """Empty for a server that is not ours: it holds no directory."""
        return "" if isinstance(self.record, Server) else self.record.directory

    @property
    def is_further(self) -> bool:
        """See `Record.is_further`."""
        return isinstance(self.record, Record) and self.record.is_further

    def summary(self) -> "InstanceSummary":
        status = self.link.status()
        return InstanceSummary(
            self.id,
            self.record.name,
            self.directory,
            self.record.shown_url if isinstance(self.record, Server) else self.record.url,
            self.pid,
            status.state,
            status.since_s,
            status.reason,
            status.last_error,
            status.next_retry_s,
            (isinstance(self.record, Record) and self.record.started_by) or UNSET,
            self.host or UNSET,
        )

    def choice(self) -> dict[str, str]:
        """An item of what an error lists to choose from."""
        choice = {"instance_id": self.id, "name": self.record.name, "directory": self.directory}
        return {**choice, "host": self.host} if self.host else choice
