"""What the commands have in common: the table of them, wrong arguments, errors of the system, and signals."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from brummer.cli import dispatch, options, standard_streams, start
from brummer.cli.command_table import BY_NAME, COMMANDS, SYNONYMS, Command, markdown, usage
from brummer.cli.commands import brum, mcp_config
from brummer.cli.interrupts import until_interrupted
from brummer.cli.messages import say
from brummer.core.errors import NotFound


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--folow"], "did you mean --follow?"),
        (["more"], "unknown argument more"),
        (["\x1b[2J\nmore"], "\ufffd[2J\ufffdmore"),
        (["--count"], "--count"),
        (["--count", "many"], "many"),
    ],
)
def test_what_is_wrong_with_the_arguments_is_said_in_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = options.parser("brum logs")
    parser.add_argument("--follow", action="store_true")
    parser.add_argument("--count", type=int)
    with pytest.raises(SystemExit) as raised:
        parser.parse_args(words)
    [line] = capsys.readouterr().err.splitlines()
    assert raised.value.code == 2
    assert line.startswith("brum logs: ")
    assert said in line
    assert line.endswith("see brum logs --help")


@pytest.mark.parametrize("text", ["~nobody-of-this-name/x", "x" * 5_000, "no/such/place", "/etc/hostname"])
def test_what_is_no_directory_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        options.directory(text)


@pytest.mark.parametrize("text", ["", " ", "-x", "\udcff"])
def test_what_can_be_no_name_of_an_instance_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        options.name(text)


def test_what_can_not_be_told_to_an_instance_is_refused() -> None:
    assert options.text("grün") == "grün"
    with pytest.raises(argparse.ArgumentTypeError):
        options.text("\udcff")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device", "/x/y"), "/x/y: No space left on device"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("odd"), "odd"),
    ],
)
def test_an_error_of_the_system_is_reported_in_one_line(error: OSError, words: str) -> None:
    assert dispatch.described(error) == words


def test_in_a_directory_that_was_removed_that_is_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "does not exist any more" in dispatch.described(FileNotFoundError(2, "No such file or directory"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ps", "brum ps"),
        ("stauts", "did you mean brum status?"),
        ("helo", "Did you mean hello?"),
        ("xyz", "there is"),
        ("start", "did you mean brum up?"),
    ],
)
def test_who_mistypes_a_command_gets_no_instance(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / "Procfile").write_text("hello: echo hi\n")
    with pytest.raises(NotFound) as raised:
        brum.refuse_unknown_names(tmp_path, [name])
    assert hint in raised.value.message
    brum.refuse_unknown_names(tmp_path, [name, "hello"])
    brum.refuse_unknown_names(tmp_path, [])


def test_a_user_whom_nobody_knows_has_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/known")
    start.ensure_home()
    assert Path.home() == Path("/home/known")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    start.ensure_home()
    assert Path.home() == Path("/")


def test_nothing_but_text_reaches_the_terminal_with_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    say("no script is called \x1b[2J\nbrum: all is well")
    assert capsys.readouterr().err == "brum: no script is called \ufffd[2J\ufffdbrum: all is well\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file system that is always full")
def test_what_can_not_be_said_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full, Path("/dev/full").open("w") as other:
        monkeypatch.setattr(sys, "stderr", full)
        monkeypatch.setattr(sys, "stdout", other)
        say("no space is left")
        standard_streams.finish()
        assert Path(f"/proc/self/fd/{full.fileno()}").readlink() == Path(os.devnull)


def test_an_agent_is_told_the_absolute_path_of_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "my tools" / "brum"
    program.parent.mkdir()
    program.write_text("")
    program.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [os.path.join("my tools", "brum")])  # noqa: PTH118 - as a shell has it
    assert f'"command": "{program}"' in mcp_config.text("cursor")
    assert f"-- '{program}' --mcp" in mcp_config.text("claude-code")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "brummer" / "__main__.py")])
    assert f"-- {sys.executable} -m brummer --mcp" in mcp_config.text("claude-code")


@pytest.mark.parametrize("command", [None, *BY_NAME.values()], ids=lambda command: command.name if command else "brum")
def test_every_command_of_the_table_has_a_module_with_its_options(command: Command | None) -> None:
    parser = dispatch.parser_of(command, dispatch.module_of(command))
    assert {"--help", "--log-level", "--no-color"} <= set(parser.option_strings())


def test_every_command_and_mode_is_in_the_usage_and_in_the_table_of_the_docs() -> None:
    shown, rows = usage(), list(markdown())
    assert [command.name for command in COMMANDS if command.is_hidden] == ["bridge"]
    assert all((command.line in shown and command.summary in shown) is not command.is_hidden for command in COMMANDS)
    assert len(rows) == len(COMMANDS) + 2
    assert all(line.count(" | ") == 2 for line in rows[2:])


def test_every_synonym_leads_to_a_command_or_an_option() -> None:
    options_of_brum = set(dispatch.parser_of(None, brum).option_strings())
    for word, typed in SYNONYMS.items():
        assert word not in BY_NAME
        assert typed.split()[0] in BY_NAME.keys() | options_of_brum


def test_arguments_that_contradict_each_other_end_as_unknown_ones_do(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["down", "--kill", "dev"], ["--http", "127.0.0.1:0"], ["--mcp", "dev"]):
        with pytest.raises(SystemExit) as raised:
            dispatch.main(words)
        assert raised.value.code == 2
        assert capsys.readouterr().err.endswith("--help\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_work_ends_at_a_signal(number: signal.Signals) -> None:
    async def work() -> None:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    assert await until_interrupted(work())


async def test_work_that_ends_by_itself_was_not_interrupted_and_its_error_is_raised() -> None:
    async def fail() -> None:
        raise NotFound("no such thing")

    assert not await until_interrupted(asyncio.sleep(0))
    with pytest.raises(NotFound):
        await until_interrupted(fail())
