"""Command lines of the ssh program, and what its end means. Pure."""

import shlex
from typing import Final

from brummer import __version__
from brummer.discovery.record import Record, displayable
from brummer.settings.servers import Server

CONNECT_TIMEOUT_S: Final = 5
"""A SYN that is lost in a cut is sent again after 1, 3 and 7 s: so an attempt over a path that heals meanwhile gets
through, or makes way for the next one.
"""
ALIVE_INTERVAL_S: Final = 5
ALIVE_COUNT: Final = 2
"""ssh gives up a path after ten seconds of silence, in which any bytes from there count."""
NOT_REACHED: Final = 255
"""ssh could not connect, or lost the connection (ssh(1), EXIT STATUS)."""
NOT_FOUND: Final = 127
"""A shell found no such program (POSIX, exit status for commands)."""

_FAR_SHELL: Final = 'PATH=$PATH:$HOME/.local/bin; exec brum "$@"'
"""What pip, pipx and uv install for one user is in ~/.local/bin, and a shell that is not interactive often lacks it."""


def far_command(*arguments: str) -> str:
    """What runs `brum` with these arguments there, in a login shell of any kind."""
    return shlex.join(["exec", "sh", "-c", _FAR_SHELL, "brum", *arguments])


def attended(box: Server, arguments: list[str], *, with_terminal: bool) -> list[str]:
    """The command line that runs `brum` there for a person, who may be asked; without a password in any of it."""
    destination, port = box.destination
    way = ["-p", port] if port else []
    options = ["-oClearAllForwardings=yes", "-oRemoteCommand=none"]
    return ["ssh", "-t" if with_terminal else "-T", *way, *options, "--", destination, far_command(*arguments)]


def master(box: Server, control: str) -> list[str]:
    """The command line of the one ssh process."""
    destination, port = box.destination
    return [
        "ssh", "-T", "-a", "-x", "-S", control,
        *(["-p", port] if port else []),
        "-oControlMaster=yes", "-oControlPersist=no", "-oBatchMode=yes", f"-oConnectTimeout={CONNECT_TIMEOUT_S}",
        f"-oServerAliveInterval={ALIVE_INTERVAL_S}", f"-oServerAliveCountMax={ALIVE_COUNT}", "-oLogLevel=INFO",
        "-oClearAllForwardings=yes", "-oPermitLocalCommand=no", "-oRemoteCommand=none",
        "--", destination, far_command("bridge"),
    ]  # fmt: skip


def multiplexed(control: str, action: str, near_port: int, far: Record) -> list[str]:
    """The command line that has the master begin (``forward``) or end (``cancel``) the way to this instance.

    It reads no configuration: the forwardings there are the user's own.
    """
    host = f"[{far.host}]" if ":" in far.host else far.host
    way = f"127.0.0.1:{near_port}:{host}:{far.port}"
    return ["ssh", "-F", "none", "-S", control, "-O", action, "-L", way, "--", "box"]


def explained(name: str, status: int, last_words: str, *, has_greeted: bool) -> str:
    """Why ssh has ended, for people. ``last_words``: the last line that ssh, or the program there, has printed."""
    if status < 0:
        return f"ssh was ended by signal {-status}"
    if status == NOT_REACHED:
        return last_words or "ssh lost the connection"
    said = f" ({last_words})" if last_words else ""
    if has_greeted:
        return f"brum bridge on {name} has ended, with status {status}{said}"
    if status == NOT_FOUND:
        return f"brum was not found on {name}: install Brummer there, so that `ssh HOST brum --version` works{said}"
    return f"brum on {name} is older than this one, or can't run: install Brummer {__version__} there{said}"


def last_line(said: bytes) -> str:
    """The last line with text, fit for a terminal."""
    lines = said.decode(errors="replace").split("\n")
    text = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return displayable(text)[:200]
