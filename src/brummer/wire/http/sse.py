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

    @property
    def held_bytes(self) -> int:
        """The size of the incomplete event."""
        return len(self._buffer) + self._data_bytes

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of every event that this chunk completes. Raises `TooLarge` when one grows over the limit."""
        searched, start = len(self._buffer), 0  # a long line in many chunks is searched once, not once per chunk
        self._buffer += chunk
        events: list[bytes] = []
        while (end := self._buffer.find(b"\n", searched)) >= 0:
            if (event := self._line(start, end)) is not None:
                events.append(event)
            searched = start = end + 1
        del self._buffer[:start]
        if self.held_bytes > self._limit_bytes:
            raise TooLarge(
                f"an event of the answer exceeds {self._limit_bytes} bytes", sent=True, limit_bytes=self._limit_bytes
            )
        return events

    def _line(self, start: int, end: int) -> bytes | None:
        """Take a line of the buffer; a large one is copied once, into the event."""
        if self._buffer.endswith(b"\r", start, end):
            end -= 1
        if self._buffer.startswith(b"data:", start, end):
            start += 6 if self._buffer.startswith(b" ", start + 5, end) else 5
            with memoryview(self._buffer) as buffer:
                self._data.append(bytes(buffer[start:end]))
            self._data_bytes += end - start + 1
        elif start == end and self._data:
            event = b"\n".join(self._data)
            self._data, self._data_bytes = [], 0
            return event or None  # without data it is none; servers begin with such a one, for its id
        return None
