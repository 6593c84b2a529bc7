import pytest

from brummer.instance.exit_words import in_words, stopped_in_words
from brummer.process.child import Exit


def code(number: int) -> Exit:
    return Exit(number, None, asked=False, output_complete=True)


def killed(name: str, *, asked: bool = False) -> Exit:
    return Exit(None, name, asked=asked, output_complete=True)


@pytest.mark.parametrize(
    ("exit_", "oom_kills", "words"),
    [
        (code(1), 0, None),
        (code(126), 0, "exit 126: found, but it can't be executed"),
        (code(127), 0, "exit 127: command not found"),
        (code(143), 0, "exit 143: a command in it was ended by SIGTERM"),
        (code(137), None, "exit 137: a command in it was ended by SIGKILL: out of memory?"),
        (killed("SIGTERM"), 0, "killed by SIGTERM, which nobody here sent"),
        (killed("SIGSEGV"), 0, "killed by SIGSEGV: it touched memory that is not its own"),
        (killed("SIGKILL"), None, "killed by SIGKILL, which nobody here sent: out of memory?"),
        (killed("SIGKILL"), 0, "killed by SIGKILL, which nobody here sent; nor did the kernel for lack of memory"),
        (
            killed("SIGKILL"),
            1,
            "killed by SIGKILL, which nobody here sent: the kernel killed 1 process for lack of memory meanwhile",
        ),
    ],
)
def test_an_end_is_told_in_words(exit_: Exit, oom_kills: int | None, words: str | None) -> None:
    assert in_words(exit_, oom_kills=oom_kills) == words


def test_a_stop_has_something_to_say_only_when_it_was_not_heard() -> None:
    assert stopped_in_words(killed("SIGTERM", asked=True), "SIGTERM", 5) is None
    assert stopped_in_words(killed("SIGKILL", asked=True), "SIGKILL", 5) is None
    told = stopped_in_words(Exit(None, "SIGKILL", True, True, was_forced=True), "SIGINT", 2.5)
    assert told == "it did not end within 2.5 s of SIGINT, so it was killed"


@pytest.mark.parametrize(
    ("oom_kills", "guess"),
    [
        (None, ": out of memory?"),
        (0, "; nor did the kernel for lack of memory"),
        (1, ": the kernel killed 1 process for lack of memory meanwhile"),
    ],
)
def test_a_kill_by_another_program_during_a_stop_is_not_reported_as_the_end_of_the_grace(
    oom_kills: int | None, guess: str
) -> None:
    told = stopped_in_words(killed("SIGKILL", asked=True), "SIGTERM", 5, oom_kills=oom_kills)
    assert told == f"killed by SIGKILL, which nobody here sent{guess}"


def test_an_unknown_exit_status_is_not_a_success() -> None:
    for asked in (True, False):
        lost = Exit(None, None, asked, output_complete=True)
        words = stopped_in_words(lost, "SIGTERM", 5) if asked else in_words(lost)
        assert words is not None
        assert "not known" in words
