"""systemd-logind announces a sleep before it begins; no other source does. Optional, and off by default.

It needs the extra ``brummer[logind]``; importing its library takes some 35 ms and 5 MiB, so that is done here and only
when it is asked for. Waking is noticed without it (`brummer.host.clocks`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from brummer.core.errors import BrummerError

if TYPE_CHECKING:
    from dbus_fast import Message

INTERFACE: Final = "org.freedesktop.login1.Manager"
SIGNAL: Final = "PrepareForSleep"
"""Source: org.freedesktop.login1(5). Its argument is true before a sleep, and false after it."""


class LogindUnavailable(BrummerError):
    """A sleep will not be announced: there is no library, or no system bus."""

    code = "logind_unavailable"


async def watch_sleep(on_sleep: Callable[[], None], on_wake: Callable[[], None]) -> None:
    """Call back until cancelled. Raises LogindUnavailable, also when the bus goes away."""
    try:
        from dbus_fast import BusType, Message, MessageType  # noqa: PLC0415 — see above
        from dbus_fast.aio import MessageBus  # noqa: PLC0415
    except ImportError:
        raise LogindUnavailable("logind = true needs the extra: pip install 'brummer[logind]'") from None

    def on_message(message: "Message") -> None:
        if message.message_type is MessageType.SIGNAL and message.member == SIGNAL and message.interface == INTERFACE:
            (on_sleep if message.body[0] else on_wake)()

    try:
        bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    except Exception as error:  # noqa: BLE001 — a bus can be unusable in many ways, and none is worth more than a note
        raise LogindUnavailable(f"logind = true, but the system bus can't be reached: {error}") from None
    try:
        bus.add_message_handler(on_message)
        rule = f"type='signal',interface='{INTERFACE}',member='{SIGNAL}'"
        reply = await bus.call(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=[rule],
            )
        )
        if reply.message_type is MessageType.ERROR:
            raise LogindUnavailable("logind = true, but the system bus lets us not listen")
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        raise LogindUnavailable("logind = true, but the system bus went away")
    finally:
        bus.disconnect()
