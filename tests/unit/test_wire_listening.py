"""Listening at the address that the user names."""

import contextlib
import errno
import socket
from collections.abc import Iterator

import pytest

from brummer.wire.http import listening
from brummer.wire.http.listening import listen


@contextlib.contextmanager
def listeners(host: str, port: int = 0) -> Iterator[list[socket.socket]]:
    found = listen(host, port)
    try:
        yield found
    finally:
        for each in found:
            each.close()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("name", ["localhost", "LocalHost"])
def test_localhost_is_both_addresses_on_one_port(name: str) -> None:
    with listeners(name) as found:
        port = found[0].getsockname()[1]
        assert [each.getsockname()[:2] for each in found] == [("127.0.0.1", port), ("::1", port)]
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port)).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_an_address_is_one_listener(host: str) -> None:
    with listeners(host) as found:
        assert [each.getsockname()[0] for each in found] == [host]


def test_an_address_that_the_machine_lacks_is_left_out_beside_one_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "LOCALHOST", [(socket.AF_INET, "192.0.2.7"), (socket.AF_INET, "127.0.0.1")])
    with listeners("localhost") as found:
        assert [each.getsockname()[0] for each in found] == ["127.0.0.1"]


def test_a_host_of_which_the_machine_has_no_address_is_an_error() -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 — its number is compared
        listen("192.0.2.7", 0)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_port_that_is_taken_at_one_address_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "LOCALHOST", [(socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "127.0.0.1")])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError) as caught:  # noqa: PT011 — its number is compared
            listen("localhost", port)
        assert caught.value.errno == errno.EADDRINUSE
    with listeners("localhost", port) as found:
        assert len(found) == 2
