"""Addresses of the page: each opens it once, and every process of the user gets one from the server."""

import asyncio
import stat
from pathlib import Path

import pytest

from brummer.views.web import address as module
from brummer.views.web.address import LASTS_S, LIMIT, SOCKET_NAME, PageUnreachable, Tickets, address_from

from .wire_support import WAIT_S


def test_a_ticket_is_redeemed_once() -> None:
    tickets = Tickets()
    ticket = tickets.issue(0.0)
    assert tickets.redeem(ticket, 1.0)
    assert not tickets.redeem(ticket, 1.0)


def test_a_ticket_that_was_not_used_in_time_is_worth_nothing_and_stays_so() -> None:
    tickets = Tickets()
    ticket = tickets.issue(0.0)
    assert not tickets.redeem(ticket, LASTS_S)
    assert not tickets.redeem(ticket, 1.0)


@pytest.mark.parametrize("shown", ["", "x", "\u00e9", "x" * 10_000])
def test_what_was_never_issued_opens_nothing_and_costs_no_other_ticket(shown: str) -> None:
    tickets = Tickets()
    ticket = tickets.issue(0.0)
    assert not tickets.redeem(shown, 1.0)
    assert tickets.redeem(ticket, 1.0)


def test_tickets_are_bounded_and_the_oldest_goes_first() -> None:
    tickets = Tickets()
    issued = [tickets.issue(0.0) for _ in range(LIMIT + 1)]
    assert not tickets.redeem(issued[0], 1.0)
    assert all(tickets.redeem(ticket, 1.0) for ticket in issued[1:])


async def test_the_server_gives_each_process_that_asks_another_address(tmp_path: Path) -> None:
    numbers = iter(range(10))
    async with asyncio.timeout(WAIT_S):
        async with module.giving_addresses(tmp_path, lambda: f"http://127.0.0.1:1/#{next(numbers)}"):
            assert stat.S_IMODE((tmp_path / SOCKET_NAME).stat().st_mode) == 0o600
            found = [await address_from(tmp_path) for _ in range(3)]
        assert found == [f"http://127.0.0.1:1/#{number}" for number in range(3)]
        assert not (tmp_path / SOCKET_NAME).exists()
        with pytest.raises(PageUnreachable):
            await address_from(tmp_path)


async def test_a_server_that_left_its_socket_behind_does_not_keep_the_next_one_from_it(tmp_path: Path) -> None:
    async with asyncio.timeout(WAIT_S):
        async with module.giving_addresses(tmp_path, lambda: "old"):
            (tmp_path / SOCKET_NAME).rename(tmp_path / "kept")
            (tmp_path / "kept").rename(tmp_path / SOCKET_NAME)
            async with module.giving_addresses(tmp_path, lambda: "new"):
                assert await address_from(tmp_path) == "new"


@pytest.mark.parametrize("line", [b"", b"http://127.0.0.1:1/#cut", b"x" * 10_000])
async def test_an_answer_that_is_no_line_is_refused(tmp_path: Path, line: bytes) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(line)
        writer.close()

    async with asyncio.timeout(WAIT_S):
        async with await asyncio.start_unix_server(answer, tmp_path / SOCKET_NAME):
            with pytest.raises(PageUnreachable):
                await address_from(tmp_path)


async def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.01)
    has_ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        has_ended.set()

    async with asyncio.timeout(WAIT_S):
        async with await asyncio.start_unix_server(answer, tmp_path / SOCKET_NAME):
            with pytest.raises(PageUnreachable):
                await address_from(tmp_path)
            await has_ended.wait()
