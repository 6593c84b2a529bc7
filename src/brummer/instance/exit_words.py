"""How a process ended, in words that claim no more than is known. Pure."""

from typing import Final

from brummer.process.child import Exit

_BY_SHELLS: Final = {126: "found, but it can't be executed", 127: "command not found"}
"""What shells, env and xargs mean by these."""
UNKNOWN: Final = "how it ended is not known: its exit status was taken by another process"
_SIGNALLED: Final = 128
"""A shell adds the number of the signal that ended its command."""
_SIGNAL_NUMBERS: Final = {130: "SIGINT", 134: "SIGABRT", 137: "SIGKILL", 139: "SIGSEGV", 143: "SIGTERM"}
_CRASHES: Final = {
    "SIGSEGV": "it touched memory that is not its own",
    "SIGBUS": "it touched memory that is not there",
    "SIGILL": "it ran into what is no instruction",
    "SIGFPE": "an arithmetic error",
    "SIGABRT": "it gave itself up, as after a failed assertion",
    "SIGXCPU": "its CPU time was used up",
}


def in_words(exit_: Exit, *, oom_kills: int | None = None) -> str | None:
    """How something ended that nobody here asked to; None where its exit code says it all. ``oom_kills``: how many the
    kernel has killed for lack of memory while it lived, None where that can't be known.
    """
    if exit_.signal is None:
        return UNKNOWN if exit_.exit_code is None else _of_code(exit_.exit_code, oom_kills)
    if exit_.signal in _CRASHES:
        return f"killed by {exit_.signal}: {_CRASHES[exit_.signal]}"
    guess = _out_of_memory(oom_kills) if exit_.signal == "SIGKILL" else ""
    return f"killed by {exit_.signal}, which nobody here sent{guess}"


def stopped_in_words(exit_: Exit, stop_signal: str, grace_s: float, *, oom_kills: int | None = None) -> str | None:
    """The reason of a requested stop, if the process ignored the signal, or another program killed it first."""
    if exit_.was_forced:
        return f"it did not end within {grace_s:g} s of {stop_signal}, so it was killed"
    if exit_.exit_code is None and exit_.signal is None:
        return UNKNOWN
    return None if exit_.signal in (None, stop_signal) else in_words(exit_, oom_kills=oom_kills)


def _of_code(code: int, oom_kills: int | None) -> str | None:
    if code in _BY_SHELLS:
        return f"exit {code}: {_BY_SHELLS[code]}"
    if code in _SIGNAL_NUMBERS:
        guess = _out_of_memory(oom_kills) if code == _SIGNALLED + 9 else ""
        return f"exit {code}: a command in it was ended by {_SIGNAL_NUMBERS[code]}{guess}"
    return None


def _out_of_memory(oom_kills: int | None) -> str:
    if oom_kills is None:
        return ": out of memory?"
    if not oom_kills:
        return "; nor did the kernel for lack of memory"
    return f": the kernel killed {oom_kills} process{'es' if oom_kills > 1 else ''} for lack of memory meanwhile"
