"""Server-sent events: a message out as an event, events in from any chunking (WHATWG HTML §9.2, the parts MCP uses)."""

from brummer.core.errors import TooLarge

KEEP_ALIVE = b":\n\n"


def encode_event(message: bytes) -> bytes:
    """One ``message`` event. JSON text has no line break once raw newlines between tokens are gone."""
    return b"event: message\ndata: %b\n\n" % message.replace(b"\r", b" ").replace(b"\n", b" ")


class EventDecoder:
    """Turns chunks into the data of whole events; comments, ids and retry hints are passed over."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of every event that this chunk completes. Raises `TooLarge` when one grows over the limit."""
        self._buffer += chunk
        events: list[bytes] = []
        if b"\n" in chunk:  # a long line in many chunks is copied once, not once per chunk
            *lines, rest = bytes(self._buffer).split(b"\n")
            self._buffer = bytearray(rest)
            events = [event for line in lines if (event := self._line(line.removesuffix(b"\r"))) is not None]
        if len(self._buffer) + self._data_bytes > self._limit_bytes:
            raise TooLarge(
                f"an event of the answer exceeds {self._limit_bytes} bytes", sent=True, limit_bytes=self._limit_bytes
            )
        return events

    def _line(self, line: bytes) -> bytes | None:
        if line.startswith(b"data:"):
            data = line[5:].removeprefix(b" ")
            self._data.append(data)
            self._data_bytes += len(data) + 1
        elif not line and self._data:
            event = b"\n".join(self._data)
            self._data, self._data_bytes = [], 0
            return event or None  # without data it is none; servers begin with such a one, for its id
        return None
