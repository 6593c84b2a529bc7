"""New lines and events as they come: each reader waits for its own at the instance, on a connection of its own."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from brummer.cli.log_lines import Ask, EventReader, LogReader, ShownPage
from brummer.cli.run_events import ShownRunEvent
from brummer.contract.tools import NEWS_WAIT_S

K = TypeVar("K")
T = TypeVar("T")

PAGE: Final = 1_000
"""Lines in one answer."""
TOGETHER_S: Final = 0.05
"""What comes within this time is printed together, in the order of time; and there are at most so many answers a second
while a script prints without a pause.
"""
SOON_S: Final = 1.0
UNPREPARED_S: Final = 0.25
"""The pause after an answer without news that came sooner than `SOON_S`: an instance of an earlier version does not
wait.
"""


class InstanceAsker(Protocol):
    """Calls an instance; a `brummer.cli.project.Project`."""

    @property
    def call(self) -> Ask: ...

    def close(self) -> None: ...


class News(NamedTuple):
    """What has come. ``pages`` only of readers that were answered."""

    pages: list[ShownPage]
    events: list[ShownRunEvent]

    @property
    def is_empty(self) -> bool:
        return not (self.events or any(page.is_news for page in self.pages))


class LogNews:
    """The next news of these readers; await `next` again and again, and `close` it. ``connect`` makes another caller of
    the instance.
    """

    def __init__(
        self, connect: Callable[[], InstanceAsker], readers: Sequence[LogReader], events: EventReader | None
    ) -> None:
        self._readers = {reader: connect() for reader in readers}
        self._events = {events: connect()} if events else {}
        self._lines: dict[LogReader, asyncio.Task[ShownPage]] = {}
        self._happening: dict[EventReader, asyncio.Task[list[ShownRunEvent]]] = {}
        self._failure: BaseException | None = None
        """Of a reader, while another had news: it is raised after those."""

    async def next(self) -> News:
        """Raises BrummerError if the instance can't be asked; what was waited for until then is asked for again."""
        began_s = asyncio.get_running_loop().time()
        try:
            news = await self._next()
        except BaseException:
            await self._drop()
            raise
        if news.is_empty and asyncio.get_running_loop().time() - began_s < SOON_S:
            await asyncio.sleep(UNPREPARED_S)
        return news

    async def _next(self) -> News:
        if self._failure is not None:
            raise self._failure
        for reader, asker in self._readers.items():
            if reader not in self._lines:
                self._lines[reader] = asyncio.create_task(reader.read(asker.call, PAGE, NEWS_WAIT_S))
        for events, asker in self._events.items():
            if events not in self._happening:
                self._happening[events] = asyncio.create_task(events.read(asker.call, NEWS_WAIT_S))
        waiting: list[asyncio.Task[Any]] = [*self._lines.values(), *self._happening.values()]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(waiting, timeout=TOGETHER_S)
        failures = [error for task in waiting if task.done() and (error := task.exception()) is not None]
        self._failure = failures[0] if failures else None
        news = News(_taken(self._lines), [event for events in _taken(self._happening) for event in events])
        if self._failure is not None and news.is_empty:
            raise self._failure
        return news

    async def close(self) -> None:
        await self._drop()
        for asker in (*self._readers.values(), *self._events.values()):
            asker.close()

    async def _drop(self) -> None:
        dropped = [*self._lines.values(), *self._happening.values()]
        self._lines, self._happening, self._failure = {}, {}, None
        for task in dropped:
            task.cancel()
        await asyncio.gather(*dropped, return_exceptions=True)


def _taken(tasks: dict[K, asyncio.Task[T]]) -> list[T]:
    """The results of those that are done; they are removed, and so are those that have failed."""
    done = {key: task for key, task in tasks.items() if task.done()}
    for key in done:
        del tasks[key]
    return [task.result() for task in done.values() if task.exception() is None]
