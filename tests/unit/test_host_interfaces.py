"""Default routes as the kernel lists them, and whether their interfaces have a signal."""

import errno
import socket
from collections.abc import Callable

import pytest

from brummer.host import interfaces
from brummer.host.interfaces import any_has_signal, default_interfaces

HEAD_V4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
CABLE_V4 = "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
WIFI_V4 = "wlan0\t00000000\t0100010A\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
HALF_OF_ALL_V4 = "tun0\t00000000\t0102080A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n"
NETWORK_V4 = "eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"


def route_v6(destination: str, prefix: int, interface: str) -> str:
    none = "0" * 32
    return f"{destination:0<32} {prefix:02x} {none} 00 {none} 00000400 00000003 00000000 00000003 {interface:>8}\n"


NETWORK_V6 = route_v6("fd", 64, "eth0")
HALF_OF_ALL_V6 = route_v6("", 1, "tun0")
CABLE_V6, WIFI_V6 = route_v6("", 0, "eth0"), route_v6("", 0, "wlan0")
NO_ROUTE_V6 = route_v6("", 0, "lo")


@pytest.mark.parametrize(
    ("v4", "v6", "names"),
    [
        ([], [], []),
        ([HEAD_V4, NETWORK_V4], [NETWORK_V6, NO_ROUTE_V6], []),
        ([HEAD_V4, CABLE_V4, WIFI_V4, NETWORK_V4], [], ["eth0", "wlan0"]),
        ([HEAD_V4, CABLE_V4, NETWORK_V4], [NETWORK_V6, WIFI_V6, NO_ROUTE_V6], ["eth0", "wlan0"]),
        ([], [NETWORK_V6, CABLE_V6, WIFI_V6, NO_ROUTE_V6], ["eth0", "wlan0"]),
        ([HEAD_V4, HALF_OF_ALL_V4, CABLE_V4], [HALF_OF_ALL_V6, NO_ROUTE_V6], ["eth0"]),
        (["\n", "eth0 00000000\n"], ["\n"], []),
    ],
    ids=["no files", "no default", "two of IPv4", "one of each", "two of IPv6", "a VPN", "lines that end early"],
)
def test_the_default_interfaces_are_those_of_every_default_route(
    v4: list[str], v6: list[str], names: list[str]
) -> None:
    assert list(default_interfaces(v4, v6)) == names


@pytest.mark.parametrize(
    ("v4", "v6", "with_signal", "carrier"),
    [
        ([CABLE_V4, WIFI_V4], [], {"wlan0"}, True),
        ([CABLE_V4], [WIFI_V6], {"wlan0"}, True),
        ([], [CABLE_V6, WIFI_V6], {"wlan0"}, True),
        ([CABLE_V4, WIFI_V4], [CABLE_V6], set(), False),
        ([CABLE_V4], [CABLE_V6], {"tun0"}, False),
        ([NETWORK_V4], [NO_ROUTE_V6], {"eth0", "lo"}, None),
    ],
)
def test_one_default_interface_with_a_signal_is_enough(
    v4: list[str], v6: list[str], with_signal: set[str], *, carrier: bool | None
) -> None:
    assert any_has_signal(default_interfaces(v4, v6), with_signal.__contains__) is carrier


def test_no_interface_is_looked_at_after_one_that_has_a_signal() -> None:
    looked: list[str] = []

    def has_signal(name: str) -> bool:
        looked.append(name)
        return name == "eth0"

    assert any_has_signal(default_interfaces([CABLE_V4, WIFI_V4], [WIFI_V6]), has_signal)
    assert looked == ["eth0"]


@pytest.mark.parametrize("look", [interfaces.default_sources, interfaces.loopback_is_up])
def test_without_a_descriptor_nothing_is_said_of_the_network(
    look: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "no descriptor left")

    monkeypatch.setattr("brummer.host.interfaces.socket.socket", none_left)
    with pytest.raises(OSError, match="no descriptor left"):
        look()
