"""The page of a hub that an agent uses: served from the first question on, unless another process serves it."""

import asyncio
from pathlib import Path

import pytest

from brummer.discovery.directory import VARIABLE
from brummer.hub.service import running_hub
from brummer.views.web.page_file import page
from brummer.views.web.page_of_hub import PageOfHub
from brummer.views.web.server import serving_page

from .wire_support import WAIT_S


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {VARIABLE: str(tmp_path / "instances"), "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}


def port_of(address: str) -> str:
    return address.partition("#")[0]


async def test_the_hub_serves_from_the_first_question_on(environ: dict[str, str]) -> None:
    async with asyncio.timeout(WAIT_S), running_hub(environ, Path("/")) as hub:
        shown = PageOfHub(hub)
        assert await asyncio.to_thread(shown.text) == await asyncio.to_thread(page)
        assert not await asyncio.to_thread((hub.registry.directory / "web.session").exists)
        first, second = await asyncio.gather(shown.address(), shown.address())
        assert first != second
        assert port_of(first) == port_of(second)
        await shown.close()
        assert not await asyncio.to_thread((hub.registry.directory / "web.sock").exists)


async def test_a_page_that_is_served_already_is_shown_and_taken_over_when_its_server_ends(
    environ: dict[str, str],
) -> None:
    async with asyncio.timeout(WAIT_S), running_hub(environ, Path("/")) as hub:
        shown = PageOfHub(hub)
        async with serving_page(hub) as other:
            address = await shown.address()
            assert port_of(address) == port_of(await other.new_address())
        assert port_of(await shown.address()) == port_of(address)
        await shown.close()
