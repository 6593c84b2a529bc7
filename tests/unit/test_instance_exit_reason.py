import pytest

from brummer.instance.exit_reason import UNKNOWN_PORT, describe_exit, describe_stop, port_in_use
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
        (code(143), 0, "exit 143: a command in it was killed by SIGTERM"),
        (code(137), None, "exit 137: a command in it was killed by SIGKILL: out of memory?"),
        (killed("SIGTERM"), 0, "killed by SIGTERM, not sent by Brummer"),
        (killed("SIGSEGV"), 0, "killed by SIGSEGV: segmentation fault"),
        (killed("SIGILL"), 0, "killed by SIGILL: illegal instruction"),
        (killed("SIGABRT"), 0, "killed by SIGABRT: aborted, as by a failed assertion"),
        (killed("SIGKILL"), None, "killed by SIGKILL, not sent by Brummer: out of memory?"),
        (killed("SIGKILL"), 0, "killed by SIGKILL, not sent by Brummer; the kernel's OOM killer did not send it"),
        (
            killed("SIGKILL"),
            1,
            "killed by SIGKILL, not sent by Brummer: out of memory: the kernel's OOM killer killed 1 process meanwhile",
        ),
    ],
)
def test_an_end_is_told_describe_exit(exit_: Exit, oom_kills: int | None, words: str | None) -> None:
    assert describe_exit(exit_, oom_kills=oom_kills) == words


def test_a_stop_has_something_to_say_only_when_it_was_not_heard() -> None:
    assert describe_stop(killed("SIGTERM", asked=True), "SIGTERM", 5) is None
    assert describe_stop(killed("SIGKILL", asked=True), "SIGKILL", 5) is None
    told = describe_stop(Exit(None, "SIGKILL", True, True, was_forced=True), "SIGINT", 2.5)
    assert told == "it did not end within 2.5 s of SIGINT, so it was killed"


@pytest.mark.parametrize(
    ("oom_kills", "guess"),
    [
        (None, ": out of memory?"),
        (0, "; the kernel's OOM killer did not send it"),
        (1, ": out of memory: the kernel's OOM killer killed 1 process meanwhile"),
    ],
)
def test_a_kill_by_another_program_during_a_stop_is_not_reported_as_the_end_of_the_grace(
    oom_kills: int | None, guess: str
) -> None:
    told = describe_stop(killed("SIGKILL", asked=True), "SIGTERM", 5, oom_kills=oom_kills)
    assert told == f"killed by SIGKILL, not sent by Brummer{guess}"


def test_an_unknown_exit_status_is_not_a_success() -> None:
    for asked in (True, False):
        lost = Exit(None, None, asked, output_complete=True)
        words = describe_stop(lost, "SIGTERM", 5) if asked else describe_exit(lost)
        assert words is not None
        assert "not known" in words


@pytest.mark.parametrize(
    ("line", "port"),
    [
        ("Error: listen EADDRINUSE: address already in use :::3000", 3000),
        ("Error: listen EADDRINUSE: address already in use 127.0.0.1:3000", 3000),
        ("[Errno 98] error while attempting to bind on address ('127.0.0.1', 8000): address already in use", 8000),
        ("2026/01/02 10:20:30 listen tcp :8080: bind: address already in use", 8080),
        ("listen tcp [::]:8080: bind: address already in use", 8080),
        ('Address already in use - bind(2) for "127.0.0.1" port 3000 (Errno::EADDRINUSE)', 3000),
        ("Error: Port 5173 is already in use", 5173),
        ("Web server failed to start. Port 8080 was already in use.", 8080),
        ("nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)", 80),
        ("Bind for 0.0.0.0:5432 failed: port is already allocated", 5432),
        ("[ERROR] Connection in use: ('127.0.0.1', 8000)", 8000),
        ("OSError: [Errno 98] Address already in use", UNKNOWN_PORT),
        ("Error: That port is already in use.", UNKNOWN_PORT),
        ("listening on http://localhost:3000", None),
        ("10:20:30 EADDRINUSE", UNKNOWN_PORT),
        ("EADDRINUSE :::99999", UNKNOWN_PORT),
    ],
)
def test_who_complains_of_a_port_is_understood(line: str, port: int | None) -> None:
    assert port_in_use(["before", line, "    at Server.setupListenHandle"]) == port


def test_the_last_complaint_that_names_a_port_counts() -> None:
    assert port_in_use(["EADDRINUSE :::3000", "EADDRINUSE :::3001", "Address already in use"]) == 3001
    assert port_in_use([]) is None
