"""The page, as a hub offers it: the resource for a host of MCP Apps, and its address for a browser.

The page itself belongs to the layer above, which gives the hub a function that makes it. It is called when the page is
first wanted: no start needs it.
"""

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from brummer.contract.tools import VIEW_URI
from brummer.host.threads import in_thread_if_possible

MIME_TYPE: Final = "text/html;profile=mcp-app"

_LISTED: Final = {
    "uri": VIEW_URI,
    "name": "view",
    "title": "Projects",
    "description": "A live view of all projects: what runs, what has failed, its output, and who did what.",
    "mimeType": MIME_TYPE,
}
_META: Final = {"ui": {"prefersBorder": True}}
"""No domains are named, so the host lets the page load and call nothing but the tools."""


class BrowserPage(Protocol):
    """What the layer above makes."""

    def text(self) -> str:
        """The page as one file. Blocks for disk access, once."""

    async def address(self) -> str:
        """An address that opens the page once. Raises BrummerError, OSError."""

    async def close(self) -> None:
        """Serve it no more."""


class PageResource:
    """The page on demand; a `brummer.wire.mcp.server.Resources`, which the hub serves if it ``is_listed``."""

    def __init__(self, make: Callable[[], BrowserPage], *, is_listed: bool) -> None:
        self.is_listed = is_listed
        self._make = make
        self._page: BrowserPage | None = None
        self.resources_json = msgspec.json.encode([_LISTED])

    @property
    def page(self) -> BrowserPage:
        if self._page is None:
            self._page = self._make()
        return self._page

    async def read_resource(self, uri: str) -> bytes | None:
        if uri != VIEW_URI:
            return None
        text = await in_thread_if_possible(self._text)
        return msgspec.json.encode([{"uri": VIEW_URI, "mimeType": MIME_TYPE, "text": text, "_meta": _META}])

    def _text(self) -> str:
        return self.page.text()

    async def close(self) -> None:
        if self._page is not None:
            await self._page.close()
