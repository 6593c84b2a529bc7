"""What the system shows of another process: its command line, a variable it was started with, and its open files."""

import contextlib
import os
import sys
from pathlib import Path

if sys.platform == "darwin":
    from brummer.host.macos.processes import mac_processes

_SHOWN_BYTES = 200
_READ_BYTES = 16_384
"""Of all arguments: a class path alone may have some thousand."""


def command_line(pid: int) -> str:
    """As it was started, on one line, cut after 200 bytes; empty when it is gone or hidden."""
    if sys.platform == "darwin":
        arguments = mac_processes().arguments(pid)
        return _on_one_line(b" ".join(arguments.command)) if arguments else ""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return _on_one_line(file.read(_SHOWN_BYTES).replace(b"\0", b" "))
    return ""


def arguments(pid: int) -> list[str]:
    """Those that it was started with, its program first; empty when it is gone or hidden."""
    if sys.platform == "darwin":
        found = mac_processes().arguments(pid)
        return [argument.decode(errors="replace") for argument in found.command] if found else []
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read(_READ_BYTES).decode(errors="replace").split("\0")[:-1]
    return []


def _on_one_line(text: bytes) -> str:
    return " ".join(text[:_SHOWN_BYTES].decode(errors="replace").split())


def inherited_variable(pid: int, name: str) -> str | None:
    """The value of an environment variable at its start; None when it had none, or the environment is hidden."""
    wanted = f"{name}=".encode()
    for entry in _environment(pid):
        if entry.startswith(wanted):
            return entry.removeprefix(wanted).decode(errors="replace")
    return None


def _environment(pid: int) -> list[bytes]:
    if sys.platform == "darwin":
        arguments = mac_processes().arguments(pid)
        return arguments.environment if arguments else []
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")
    return []


def has_open(pid: int, path: Path) -> bool:
    """The process has this file open; False also if that is hidden from us."""
    with contextlib.suppress(OSError):
        wanted = path.stat()
        if sys.platform == "darwin":
            return mac_processes().has_open(pid, wanted.st_dev, wanted.st_ino)
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):  # closed meanwhile
                if os.path.samestat(os.stat(f"/proc/{pid}/fd/{name}"), wanted):
                    return True
    return False
