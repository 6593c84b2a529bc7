"""Why a script failed, as far as its exit status, its output and the system tell."""

from collections.abc import Sequence

from brummer.host.out_of_memory import OomKills, oom_kills
from brummer.instance.exit_words import in_words
from brummer.instance.port_complaints import UNKNOWN, port_in_use
from brummer.instance.port_owner import PortOwner, owner_of
from brummer.process.child import Exit

SHOWN = 300
"""Characters of its last line."""


def failure_of(
    exit_: Exit, lines: Sequence[str], *, killed_before: OomKills | None, wanted_port: int | None, generation: str
) -> tuple[str | None, PortOwner | None]:
    """In words, if there is more to say than its exit code; and who has the port that it complains of. Reads /proc: use
    a thread.
    """
    words = in_words(exit_, oom_kills=kills_since(killed_before))
    complaint, owner = taken_port(lines, wanted_port, generation)
    return "; ".join(filter(None, (words, complaint))) or None, owner


def kills_since(before: OomKills | None) -> int | None:
    """How many processes the kernel has killed for lack of memory since then; None if unknown. Reads files."""
    now = oom_kills() if before is not None else None
    return now.kills - before.kills if now and before and now.source == before.source else None


def taken_port(lines: Sequence[str], wanted_port: int | None, generation: str) -> tuple[str | None, PortOwner | None]:
    """In words, if the output complains of one, and who has it."""
    port = port_in_use(lines)
    if port is None:
        return None, None
    port = port or wanted_port or UNKNOWN
    if port == UNKNOWN:
        return "a port that it wanted is taken, and its output does not say which", None
    owner = owner_of(port, generation)
    return owner.in_words() if owner else f"port {port} was taken; nobody is seen there now", owner


def with_its_error(exit_: Exit, reason: str | None, error: str | None, lines: Sequence[str]) -> str:
    """How it ended, and the first error that it printed; else its last line, which of most programs is that."""
    words = reason or f"exit {exit_.exit_code}"
    said = error or (lines[-1][:SHOWN] if lines else None)
    return f"{words}: {said}" if said else words
