"""What another process tells of itself: its command line, and a variable it was started with. Linux only."""

import contextlib

_SHOWN_BYTES = 200


def command_line(pid: int) -> str:
    """As it was started, on one line, cut after 200 bytes; empty when it is gone or hidden."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return " ".join(file.read(_SHOWN_BYTES).replace(b"\0", b" ").decode(errors="replace").split())
    return ""


def inherited_variable(pid: int, name: str) -> str | None:
    """The value of an environment variable at its start; None when it had none, or belongs to another user."""
    wanted = f"{name}=".encode()
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        for entry in file.read().split(b"\0"):
            if entry.startswith(wanted):
                return entry.removeprefix(wanted).decode(errors="replace")
    return None
