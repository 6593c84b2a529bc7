"""The page of a running hub, for agents: its text, and an address that the hub serves from the first question on."""

import asyncio
import contextlib

from brummer.hub.service import Hub
from brummer.views.web.address import PageUnreachable
from brummer.views.web.page_file import page
from brummer.views.web.server import ServedPage, serving_page


class PageOfHub:
    """A `brummer.hub.shown_page.BrowserPage`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._serving = contextlib.AsyncExitStack()
        self._served: ServedPage | None = None
        self._lock = asyncio.Lock()

    def text(self) -> str:
        return page()

    async def address(self) -> str:
        async with self._lock:
            if self._served is not None:
                try:
                    return await self._served.new_address()
                except PageUnreachable:  # the process that served it has ended meanwhile
                    await self._stop()
            self._served = await self._serving.enter_async_context(serving_page(self._hub))
            return await self._served.new_address()

    async def close(self) -> None:
        async with self._lock:
            await self._stop()

    async def _stop(self) -> None:
        self._served = None
        await self._serving.aclose()
