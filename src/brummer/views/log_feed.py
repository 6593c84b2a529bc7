"""The lines of one row of a view: new ones as they come, earlier ones when they are asked for."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from brummer.core.errors import NotFound
from brummer.discovery.record import displayable
from brummer.views.log_lines import STARTED_ANEW, LogLine, newest_of, note, page_of, unfolded
from brummer.views.log_pace import LogPace
from brummer.views.model import Answer, RowKey
from brummer.views.source import RETRY_S, WAIT_S, AskFailed, Source

PAGE: Final = 1_000
"""Lines in one answer: some screens."""
PAGE_BYTES: Final = 262_144
"""The largest answer; the default is for agents, who pay for each byte."""


class LogFeed:
    """The lines of one row, page by page: new ones as they come, earlier ones when they are asked for.

    ``query``: only lines with this text. ``until_n``: begin with the page that ends at this line, and do not go on.
    """

    def __init__(
        self, source: Source, key: RowKey, level: str | None = None, query: str = "", until_n: int | None = None
    ) -> None:
        self._source = source
        self.key = key
        self._which: dict[str, object] = {
            "instance": key.instance,
            "process": key.script,
            "level": level,
            "colours": True,
        }
        self._query = query
        self._until_n = until_n
        self._cursor: str | None = None
        self._first_cursor: str | None = None
        self._first_n = 0
        self._last_n = 0
        self._has_more = False
        """More lines follow the last answer already."""
        self.has_answer = False
        self.has_earlier = True
        self.refusal = ""
        """Why there is no answer; empty if there is one, and if the script has just never run."""

    @property
    def is_earlier(self) -> bool:
        """It shows earlier lines, and does not go on to new ones."""
        return self._until_n is not None

    async def run(self, take: Callable[[list[LogLine]], None]) -> None:
        """Pass on lines for ever, or until the only page is there. The first answer is passed on also without lines."""
        pace, skips = LogPace(asyncio.get_running_loop().time()), False
        while True:
            asked_s = asyncio.get_running_loop().time()
            try:
                lines, is_away = await (self._newest() if skips else self._next())
            except AskFailed as error:
                never_ran = error.error_code == NotFound.code
                self.refusal = "" if never_ran else displayable(error.message)
                take([])
                await self._source.until_news(self.key.instance, None if never_ran else RETRY_S)
                continue
            was_first, self.has_answer, self.refusal = not self.has_answer, True, ""
            if lines or was_first:
                take(lines)
            if self.is_earlier:
                return
            if is_away:
                await self._source.until_news(self.key.instance)
            elif lines or not self._source.has_waited(asked_s):
                step = pace.step(asyncio.get_running_loop().time(), has_more=self._has_more)
                skips = step.skips and not self._is_filtered
                await asyncio.sleep(step.pause_s)

    @property
    def _is_filtered(self) -> bool:
        """The numbers of lines do not tell how many wanted ones are between."""
        return bool(self._query) or self._which["level"] is not None

    async def _newest(self) -> tuple[list[LogLine], bool]:
        """As `_next`, in a flood: without the lines between, which a note stands for."""
        before = self._cursor or ""
        answer = await self._page()
        self._cursor, self._has_more = _cursor_of(answer), False
        if before.partition(".")[0] == self._cursor.partition(".")[0]:
            lines = newest_of(answer, self._last_n)
        else:
            lines = [note(STARTED_ANEW), *unfolded(answer)]
        self._note_last(lines)
        return lines, "from" in answer

    async def _next(self) -> tuple[list[LogLine], bool]:
        """The next lines, and whether they are from the black box. Raises AskFailed."""
        before = self._cursor
        if before is None:
            cursor = self._source.cursor_of(self.key.instance) if self.is_earlier else None
            answer = await self._page(before=self._until_n, cursor=cursor)
            self._first_cursor = _cursor_of(answer)
        elif self._query:  # a search does not wait: wait for any line
            await self._source.ask("logs_tail", **self._which, cursor=before, limit=1, wait_s=WAIT_S)
            answer = await self._page(cursor=before)
        else:
            answer = await self._page(cursor=before, wait_s=WAIT_S)
        self._cursor, self._has_more = _cursor_of(answer), before is not None and bool(answer.get("more"))
        lines = page_of(answer, continues=before is not None)
        self._note_last(lines)
        if before is None:
            self._note_first(lines, has_more=bool(answer.get("more" if self.is_earlier else "omitted")))
        return lines, "from" in answer

    async def earlier(self) -> list[LogLine]:
        """The page before all lines so far; empty if none is kept, or the instance does not answer."""
        if not self.has_earlier or not self._first_n:
            return []
        try:
            answer = await self._page(before=self._first_n, cursor=self._first_cursor)
        except AskFailed:
            return []
        if answer.get("cursor_reset"):  # of another run of the instance: these lines are not the ones before
            self.has_earlier = False
            return []
        lines = page_of(answer, continues=False)
        self._note_first(lines, has_more=bool(answer.get("more")))
        return lines

    def _note_last(self, lines: Sequence[LogLine]) -> None:
        self._last_n = next((line.n for line in reversed(lines) if line.n), self._last_n)

    async def everything(self) -> list[LogLine]:
        """All lines that are kept, instead of `run`. Raises AskFailed if there is no answer at all."""
        lines, _ = await self._next()
        while earlier := await self.earlier():
            lines = [*earlier, *lines]
        return lines

    def _note_first(self, lines: Sequence[LogLine], *, has_more: bool) -> None:
        self.has_earlier = has_more
        self._first_n = next((line.n for line in lines if line.n), self._first_n)

    async def _page(self, **arguments: object) -> Answer:
        tool = "logs_search" if self._query else "logs_tail"
        query = self._query or None
        return await self._source.ask(tool, **self._which, query=query, limit=PAGE, limit_bytes=PAGE_BYTES, **arguments)


def _cursor_of(answer: Answer) -> str:
    return str(answer.get("cursor", ""))
