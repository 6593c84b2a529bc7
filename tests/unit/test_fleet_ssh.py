"""The ssh program as a carrier, with a stand-in for it: its command lines, its words, and that nothing of it stays."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from brummer.fleet.ssh import SshConnection, SshFailed
from brummer.fleet.ssh_command import explained, last_line, master, multiplexed
from brummer.settings.servers import Server

from .discovery_support import directory_in_memory, record_of_this_process

WITHIN_S: Final = 30
BOX: Final = Server("box", "ssh://me@devbox:2222")

Put = Callable[[str], dict[str, str]]


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield path


@pytest.fixture
def ssh(tmp_path: Path) -> Put:
    """Makes this shell script the `ssh` of the environment that is returned."""

    def put(script: str) -> dict[str, str]:
        program = tmp_path / "ssh"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    return put


async def test_lines_come_and_questions_go_until_it_is_closed_and_nothing_stays(ssh: Put, directory: Path) -> None:
    environ = ssh('echo "$@"; touch "$5"; read question; echo "$question"; exec cat')
    connection = await SshConnection.start(BOX, directory, environ)
    async with asyncio.timeout(WITHIN_S):
        control = Path((await connection.line()).decode().split()[4])
        assert control.name == str(control)
        connection.ask()
        assert await connection.line() == b"{}\n"
        assert (directory / control).exists()
        assert await connection.close(has_greeted=True) == ""
    assert list(directory.iterdir()) == []


async def test_an_ssh_that_ignores_its_end_is_killed(ssh: Put, directory: Path) -> None:
    environ = ssh("trap '' TERM; echo $$; while :; do sleep 0.1; done")
    connection = await SshConnection.start(BOX, directory, environ)
    async with asyncio.timeout(WITHIN_S):
        pid = int(await connection.line())
        await connection.close(has_greeted=True)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_the_last_words_of_ssh_are_why_it_has_ended(ssh: Put, directory: Path) -> None:
    environ = ssh(
        "echo 'Banner of the house' >&2; printf 'Permission denied\\033[31m (publickey).\\r\\n' >&2; exit 255"
    )
    connection = await SshConnection.start(BOX, directory, environ)
    async with asyncio.timeout(WITHIN_S):
        assert await connection.line() == b""
        assert await connection.close(has_greeted=False) == "Permission denied\ufffd[31m (publickey)."


async def test_a_port_that_another_process_took_is_replaced_by_the_next(ssh: Put, directory: Path) -> None:
    environ = ssh(
        'case "$*" in *forward*) echo "$@" >>tries; [ $(wc -l <tries) -ge 3 ] || { echo taken >&2; exit 255; } ;; '
        '*cancel*) echo "$@" >>tries ;; *) echo here; exec cat ;; esac'
    )
    record = record_of_this_process(url="http://[::1]:4000/mcp")
    connection = await SshConnection.start(BOX, directory, environ)
    async with asyncio.timeout(WITHIN_S):
        await connection.line()
        port = await connection.forward(record)
        await connection.cancel(port, record)
        await connection.close(has_greeted=True)
    tries = [line.split() for line in (directory / "tries").read_text().splitlines()]
    assert len(tries) == 4
    assert [each[each.index("-O") + 1] for each in tries] == ["forward"] * 3 + ["cancel"]
    assert len({each[each.index("-L") + 1] for each in tries[:3]}) == 3
    assert tries[2][tries[2].index("-L") + 1] == tries[3][tries[3].index("-L") + 1] == f"127.0.0.1:{port}:[::1]:4000"


async def test_no_port_at_all_is_an_error_with_the_reason(ssh: Put, directory: Path) -> None:
    environ = ssh('case "$*" in *forward*) echo administratively prohibited >&2; exit 255 ;; esac; echo here; exec cat')
    connection = await SshConnection.start(BOX, directory, environ)
    async with asyncio.timeout(WITHIN_S):
        await connection.line()
        with pytest.raises(SshFailed) as failed:
            await connection.forward(record_of_this_process())
        await connection.close(has_greeted=True)
    assert "administratively prohibited" in failed.value.message


async def test_a_machine_without_ssh_is_an_error(tmp_path: Path, directory: Path) -> None:
    with pytest.raises(SshFailed):
        await SshConnection.start(BOX, directory, {"PATH": str(tmp_path)})


async def test_a_line_without_an_end_is_an_error(ssh: Put, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brummer.fleet.ssh.LINE_LIMIT_BYTES", 1_000)
    connection = await SshConnection.start(BOX, directory, ssh("head -c 5000 /dev/zero; exec cat"))
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(SshFailed):
            await connection.line()
        await connection.close(has_greeted=False)


async def test_control_sockets_of_dead_processes_are_removed(ssh: Put, directory: Path) -> None:
    left = directory / "ssh-1-0.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(left))
        listener.listen()
        first = await SshConnection.start(BOX, directory, ssh("exec cat"))
        assert left.exists()
    second = await SshConnection.start(BOX, directory, ssh("exec cat"))
    assert not left.exists()
    await asyncio.gather(first.close(has_greeted=False), second.close(has_greeted=False))


def test_the_command_line_takes_nothing_for_an_option_and_asks_nothing() -> None:
    command = master(BOX, "control")
    assert command[-4:-1] == ["-oRemoteCommand=none", "--", "me@devbox"]
    assert command[command.index("-p") + 1] == "2222"
    assert "-oBatchMode=yes" in command
    assert "-p" not in master(Server("box", "ssh://devbox"), "control")
    record = msgspec.structs.replace(record_of_this_process(), url="http://127.0.0.1:4000/mcp")
    assert multiplexed("control", "forward", 5000, record)[1:] == [
        *("-F", "none", "-S", "control", "-O", "forward", "-L", "127.0.0.1:5000:127.0.0.1:4000", "--", "box")
    ]


@pytest.mark.parametrize(
    ("status", "words", "has_greeted", "expected"),
    [
        (255, "Host key verification failed.", False, "Host key verification failed."),
        (255, "", True, "ssh lost the connection"),
        (127, "sh: brum: not found", False, "brum was not found on box"),
        (1, "No script is called 'bridge'", False, "is older than this one"),
        (1, "", True, "brum bridge on box has ended, with status 1"),
        (-9, "", True, "signal 9"),
    ],
)
def test_each_end_of_ssh_has_its_own_words(status: int, words: str, has_greeted: bool, expected: str) -> None:  # noqa: FBT001
    said = explained("box", status, words, has_greeted=has_greeted)
    assert expected in said
    assert words in said


def test_last_words_are_one_line_for_a_terminal() -> None:
    assert last_line(b"") == ""
    assert last_line(b"first\nlast\x1b[2J\n\n  \n") == "last\ufffd[2J"
    assert len(last_line(b"x" * 10_000)) == 200
