"""The environment and the input that scripts get, beside what the tools get them that the project's files are written
for.
"""

import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from brummer.contract.texts import lines_of
from brummer.host.ports import is_free
from brummer.instance.env_files import beside_procfile
from brummer.instance.environment import NOT_PASSED_ON
from tests.integration.programs import BRUM, WAIT_S, Brum, within

DUMP_PY = """\
# Leaves its environment, as it came from the system, in the file of this name.
import os, pathlib, sys
whole = b"".join(b"%s=%s\\0" % each for each in os.environb.items())
partial = pathlib.Path(os.environ["OUT"], "." + sys.argv[1])
partial.write_bytes(whole)
partial.rename(partial.with_name(sys.argv[1]))
"""
DUMPS = f"{sys.executable} -I {{directory}}/dump.py"
ENDS_WITH_ITS_INPUT_PY = """\
# As the watchers of bundlers and compilers do.
import pathlib, sys
print("watching", flush=True)
sys.stdin.read()
pathlib.Path("ended-with-its-input").touch()
"""
SHELLS_OWN = {"_", "OLDPWD", "PWD", "SHLVL"}
OURS = {"BRUMMER_PROCESS", "BRUMMER_RUN", "FORCE_COLOR", "PYTHONUNBUFFERED"}

TRICKY = """\
# comment
PLAIN=1
  SPACED = two words
QUOTED='single $PLAIN # "x"'
DOUBLE="with \\"quotes\\" and $PLAIN"
COMMENTED=value # a comment
HASH=a#b
EMPTY=
URL=postgres://me:pw@localhost:5432/db?sslmode=off&x=%20
ESCAPED=one\\\\ntwo
NEWLINE='one\\ntwo'
TAB="a\\tb"
export EXPORTED=1
1DIGIT=2
not a variable
PATHS=/usr/bin:/bin
DASHED-NAME=1
PLAIN=again
JSON='{"a": [1, 2]}'
"""


@pytest.fixture(autouse=True)
def nothing_is_left(brum: Brum) -> Iterator[None]:
    """An instance in the background is no program of this process."""
    yield
    brum.kill_all()


class Compared:
    """A directory with a Procfile whose lines leave their environment behind."""

    def __init__(self, brum: Brum, dotenv: bytes | None, *names: str) -> None:
        self.brum = brum
        self.names = names
        self.directory = brum.project("shop", {"dump.py": DUMP_PY})
        dumps = DUMPS.format(directory=self.directory)
        lines = ["# the processes", "", *(f"{name}: {dumps} {name}; exec sleep 600" for name in names)]
        (self.directory / "Procfile").write_text("\n".join(lines) + "\n")
        if dotenv is not None:
            (self.directory / ".env").write_bytes(dotenv)
        self.given = {"XDG_STATE_HOME": str(brum.home / "state"), "FROM_THE_SHELL": "yes", "PLAIN": "shell's"}

    def by_honcho(self, **more: str) -> dict[str, dict[str, bytes]]:
        honcho = BRUM.with_name("honcho")
        if not honcho.exists():
            pytest.skip("honcho is missing: run make integration-test")
        out = self._place("honcho")
        environment = {**self.brum.environment, **self.given, **more, "OUT": str(out)}
        for name in NOT_PASSED_ON:  # of the make that has started this test, perhaps
            environment.pop(name, None)
        with subprocess.Popen([honcho, "start"], cwd=self.directory, env=environment) as running:
            try:
                assert within(WAIT_S, lambda: self._are_there(out))
            finally:
                running.terminate()
        return self._read(out)

    def by_brum(self, **more: str) -> dict[str, dict[str, bytes]]:
        out = self._place("brum")
        variables = {**self.given, **more, "OUT": str(out)}
        up = self.brum.run("up", "--no-wait", *self.names, cwd=self.directory, stdin=b"", **variables)
        assert up.status == 0, up.stderr
        assert within(WAIT_S, lambda: self._are_there(out)), up.stderr
        return self._read(out)

    def _place(self, name: str) -> Path:
        out = self.brum.home / name
        out.mkdir()
        return out

    def _are_there(self, out: Path) -> bool:
        return all((out / name).exists() for name in self.names)

    def _read(self, out: Path) -> dict[str, dict[str, bytes]]:
        found = {}
        for name in self.names:
            entries = [entry.partition(b"=") for entry in (out / name).read_bytes().split(b"\0") if entry]
            variables = {os.fsdecode(variable): value for variable, _, value in entries}
            found[name] = {key: value for key, value in variables.items() if key not in {*SHELLS_OWN, *OURS, "OUT"}}
        return found


def free_base() -> str:
    """A port that is free, and with it those of the next lines of a Procfile."""
    for base in range(21_000, 30_000, 500):
        if all(map(is_free, range(base, base + 500, 100))):
            return str(base)
    pytest.skip("no ports are free")


@pytest.mark.parametrize(
    "dotenv",
    [
        None,
        TRICKY.encode(),
        TRICKY.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbfFIRST=1\nSECOND=2\n",
        "UMLAUT=grün\nSEPARATED=a\u2028b\nNEL=a\u0085b\n".encode(),
        b"PORT={base}\nPLAIN=file\n",
    ],
    ids=["none", "tricky", "CRLF", "BOM", "separators", "PORT"],
)
def test_each_line_of_a_procfile_has_the_environment_that_honcho_gives_it(brum: Brum, dotenv: bytes | None) -> None:
    """All variables, of all processes, with the values of all."""
    base = free_base()
    dotenv = dotenv and dotenv.replace(b"{base}", base.encode())
    compared = Compared(brum, dotenv, "web", "worker", "css")
    honchos = compared.by_honcho(PORT=base)
    assert [honchos[name]["PORT"] for name in honchos] == [b"%d" % (int(base) + 100 * n) for n in range(3)]
    assert compared.by_brum(PORT=base) == honchos


def test_without_a_port_of_ones_own_they_are_counted_from_5000(brum: Brum) -> None:
    if not all(map(is_free, (5000, 5100))):
        pytest.skip("somebody has these ports")
    found = Compared(brum, None, "web", "worker").by_brum()
    assert [found[name]["PORT"] for name in ("web", "worker")] == [b"5000", b"5100"]


def test_where_its_port_is_taken_a_line_gets_the_next_one_and_keeps_it(brum: Brum) -> None:
    base = int(free_base())
    compared = Compared(brum, b"PORT=%d\n" % base, "web", "worker")
    with socket.create_server(("127.0.0.1", base)):
        found = compared.by_brum()
    assert [found[name]["PORT"] for name in compared.names] == [b"%d" % (base + 1), b"%d" % (base + 100)]
    again = brum.home / "again"
    again.mkdir()
    assert (
        brum.run("restart", *compared.names, cwd=compared.directory, stdin=b"", **compared.given, OUT=str(again)).status
        == 0
    )
    assert within(WAIT_S, (again / "web").exists)
    assert b"\0PORT=%d\0" % (base + 1) in b"\0" + (again / "web").read_bytes()


def test_an_env_file_is_read_as_python_dotenv_reads_it(brum: Brum) -> None:
    dotenv = pytest.importorskip("dotenv")
    lines = {
        "REGEX": r'"\d+"',
        "WINDOWS": r'"C:\Users\me"',
        "PEM": '"-----BEGIN KEY-----\nMIIB\n-----END KEY-----"',
        "SEPARATED": "a\u2028b",
        "EXPANDED": "$HOME ${HOME}",
        "SINGLE": r"'a\'b\n'",
        "ESCAPES": r'"\a\b\f\n\r\t\v\\\x41"',
        "COMMENTED": "a #b",
        "EMPTY": "",
    }
    text = "\ufeff" + "\r\n".join(f"{name}={value}" for name, value in lines.items()) + "\nexport EXPORTED=1\nALONE\n"
    project = brum.project("shop", {"dump.py": DUMP_PY, ".env": "", "out/keep": ""})
    (project / ".env").write_bytes(text.encode())
    command = f"{DUMPS.format(directory=project)} web"
    (project / ".brum.toml").write_text(f'[scripts.web]\ncommand = "{command}"\nenv_file = ".env"\n')
    assert brum.run("up", "web", "--no-wait", cwd=project, OUT=str(project / "out")).status == 0
    assert within(WAIT_S, (project / "out" / "web").exists)
    found = dict(entry.partition(b"=")[::2] for entry in (project / "out" / "web").read_bytes().split(b"\0") if entry)
    expected = dotenv.dotenv_values(project / ".env", interpolate=False)
    assert expected.keys() >= lines.keys() | {"EXPORTED"}
    assert {name: found.get(name.encode(), b"").decode() for name in expected} == {
        name: value or "" for name, value in expected.items()
    }
    assert b"ALONE" not in found


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*"AB_19=='\"\\ \t#$;:/.-x\n\r\x0b\u2028\ufeffé", "export ", "\\n", "\nA=", "\nB="])))
def test_no_text_beside_a_procfile_is_read_in_another_way_than_honcho_reads_it(parts: list[str]) -> None:
    honcho = pytest.importorskip("honcho.environ", reason="honcho is missing: run make integration-test")
    text = io.StringIO("".join(parts), newline=None).read()  # as a file is opened
    try:
        expected = honcho.parse(text)
    except ValueError:  # a quotation without an end: honcho starts nothing
        reject()
    assert beside_procfile("".join(parts)).values == expected


# The environment of who asks.


def test_up_and_restart_bring_the_environment_of_their_shell_and_a_result_says_from_when_an_older_one_is(
    brum: Brum,
) -> None:
    project = brum.project("shop", {"Procfile": 'dev: echo "A is $A"; exec sleep 600\n'})

    def printed() -> list[str]:
        return [line for line in brum.run("logs", cwd=project).stdout.splitlines() if "A is" in line]

    assert brum.run("up", "dev", "--no-wait", cwd=project, A="one").status == 0
    assert within(WAIT_S, lambda: printed() == ["dev | A is one"])
    again = brum.run("up", "dev", "--no-wait", cwd=project, A="two")
    assert "brum restart dev" in again.stderr
    assert len(printed()) == 1, "it runs already"
    same = brum.run("up", "dev", "--no-wait", cwd=project, A="one")
    assert "environment" not in same.stderr
    assert brum.run("restart", "dev", "--no-wait", cwd=project, A="two").status == 0
    assert within(WAIT_S, lambda: printed() == ["dev | A is one", "dev | A is two"])
    hub = brum.hub(cwd=project).greet()
    by_an_agent = hub.call("scripts_restart", name="dev", wait="none")
    assert by_an_agent["environment_from"] < by_an_agent["started_at"]
    assert within(WAIT_S, lambda: printed()[2:] == ["dev | A is two"])


def test_a_large_environment_and_values_that_are_no_utf_8_arrive(brum: Brum) -> None:
    """A single value may have 128 KiB on Linux."""
    large = {f"LARGE{n}": str(n) * 100_000 for n in range(8)}
    compared = Compared(brum, None, "web")
    found = compared.by_brum(RAW=os.fsdecode(b"\xff\xfe=\x80"), LINES="a\nb=c", **large)["web"]
    assert found["RAW"] == b"\xff\xfe=\x80"
    assert found["LINES"] == b"a\nb=c"
    assert {name: value.decode() for name, value in found.items() if name in large} == large


def test_an_environment_that_is_larger_than_a_request_may_be_is_refused_with_its_reason(brum: Brum) -> None:
    limit = "BRUMMER_MAX_REQUEST"
    project = brum.project("shop", {"Procfile": "dev: exec sleep 600\n"})
    assert brum.run("up", "dev", "--no-wait", cwd=project, stdin=b"", **{limit: "64kB"}).status == 0
    done = brum.run("restart", "dev", "--no-wait", cwd=project, LARGE="x" * 100_000)
    assert done.status == 1
    assert "max_request" in done.stderr


@pytest.mark.promise("no-secret-leaks")
def test_the_token_of_the_hub_and_the_marks_of_another_run_do_not_cross(brum: Brum) -> None:
    compared = Compared(brum, None, "web")
    marks = {"BRUMMER_HTTP_TOKEN": "t" * 40, "BRUMMER_RUN": "outer/x-1", "BRUMMER_PROCESS": "outer", "MAKELEVEL": "1"}
    out = compared.brum.home / "brum"
    assert compared.by_brum(**marks)["web"].keys().isdisjoint({"BRUMMER_HTTP_TOKEN", "MAKELEVEL"})
    raw = (out / "web").read_bytes()
    assert b"outer" not in raw
    assert b"BRUMMER_RUN=" in raw


@pytest.mark.promise("no-secret-leaks")
def test_the_environment_is_in_no_file_and_in_no_answer(brum: Brum) -> None:
    secret = "s3cret-" + "v" * 20
    project = brum.project("shop", {"Procfile": "dev: exec sleep 600\n"})
    assert brum.run("up", "dev", "--no-wait", cwd=project, SECRET=secret).status == 0
    restarted = brum.run("restart", "dev", "--no-wait", "--log-level", "debug", cwd=project, SECRET=secret)
    hub = brum.hub("--log-level", "debug", cwd=project).greet()
    answers = [hub.call(tool) for tool in ("scripts_status", "scripts_list", "changes_since", "hub_status")]
    answers.append(hub.call("scripts_restart", name="dev", wait="none"))
    shown = [restarted.stdout, restarted.stderr, json.dumps(answers)]
    shown += [brum.run(*each, cwd=project).stdout for each in (["ps", "--json"], ["status", "--json"], ["metrics"])]
    assert not any(secret in text for text in shown)
    files = [path for path in brum.home.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not [path for path in files if secret.encode() in path.read_bytes()]


# Its input.


def test_what_ends_with_its_input_goes_on_until_it_is_stopped(brum: Brum) -> None:
    project = brum.project("shop", {"watch.py": ENDS_WITH_ITS_INPUT_PY})
    (project / "Procfile").write_text(f"css: exec {sys.executable} -I watch.py\n")
    assert brum.run("up", "css", "--no-wait", cwd=project).status == 0
    hub = brum.hub(cwd=project).greet()
    assert hub.call("wait_for", process="css", log="watching", since="1h")["matched"]
    waited = hub.call("wait_for", process="css", exit=True, timeout_s=1)
    assert not waited["matched"]
    assert hub.call("scripts_status", name="css")["processes"][0]["status"] == "running"
    assert hub.call("scripts_stop", name="css")["signal"] == "SIGTERM"
    assert not (project / "ended-with-its-input").exists()


def test_the_input_ends_when_the_instance_is_killed(brum: Brum) -> None:
    """It left its group and ignores SIGTERM, so it sees the end of its input before the guard kills it."""
    watcher = f"trap '' TERM; exec {sys.executable} -I watch.py"
    project = brum.project("shop", {"watch.py": ENDS_WITH_ITS_INPUT_PY, "Procfile": f"css: {watcher}\n"})
    instance = brum.instance(project, "css")
    hub = brum.hub(cwd=project).greet()
    assert hub.call("wait_for", process="css", log="watching", since="1h")["matched"]
    instance.signal(signal.SIGKILL)
    assert within(WAIT_S, (project / "ended-with-its-input").exists)


def test_a_run_whose_end_is_waited_for_gets_the_end_of_its_input_at_once(brum: Brum) -> None:
    project = brum.project("shop", {"Procfile": "reads: wc -c; echo read it all\n"})
    brum.instance(project)
    hub = brum.hub(cwd=project).greet()
    ran = hub.call("scripts_run", name="reads", wait="exit")
    assert (ran["status"], ran["last_lines"]) == ("exited", ["0", "read it all"])


# Colours.


def test_programs_print_colours_which_a_person_sees_and_an_agent_does_not(brum: Brum) -> None:
    colourful = "if test -n \"$FORCE_COLOR\"; then printf '\\033[32mgreen\\033[0m\\n'; else echo plain; fi"
    project = brum.project("shop", {"Procfile": f"dev: {colourful}; exec sleep 600\n"})
    brum.instance(project, "dev")
    hub = brum.hub(cwd=project).greet()
    assert hub.call("wait_for", process="dev", log="green", since="1h")["matched"]
    assert [line["text"] for line in lines_of(hub.call("logs_tail"))] == ["green"]
    assert brum.run("logs", cwd=project).stdout == "dev | green\n"
    assert re.search(rb"dev \|\x1b\[0m \x1b\[32mgreen\x1b\[0m", on_a_terminal(brum, project))


def on_a_terminal(brum: Brum, project: Path) -> bytes:
    """What brum logs prints there."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in brum.environment.items() if name != "NO_COLOR"}
    done = subprocess.run([BRUM, "logs"], cwd=project, env={**environment, "TERM": "xterm"}, stdout=theirs, check=True)
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as screen:
        assert done.returncode == 0
        return screen.read(65_536)
