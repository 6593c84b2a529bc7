"""A directory full of traps: hub and ``brum ls`` stay up and quick, say what is wrong once, and call no stranger."""

import base64
import contextlib
import http.server
import json
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.discovery.record import Record, encode, file_name
from brummer.host.pids import identify
from tests.integration.programs import Brum, within
from tests.unit.discovery_support import bad_path, record_of_this_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: FIFOs, devices and owners as Linux has them")

GARBAGE = 5000
BIG_BYTES = 2 << 20
FIRST_ANSWER_S = 2.0
"""The greeting needs no directory; the issue asks for 0.1 s on a machine of its own."""
LIST_S = 5.0
KINDS = {"malformed", "too_large", "not_regular", "symlink", "newer_version"}
WRONG: tuple[Any, ...] = (None, -1, 1e308, [], {}, "\n", "../..", "")
OF_OTHERS = {"foreign_owner"} if os.geteuid() == 0 else set()


class Stranger:
    """Somebody's HTTP server, on a port that a record claims. It keeps whatever it is sent, and answers politely."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.requests: list[tuple[str, str, str]] = []
        keep = self.requests

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                keep.append((self.command, self.path, f"{self.headers}\n{body.decode('latin-1')}"))
                moved = len(keep) % 2 == 0
                self.send_response(307 if moved else 200)
                if moved:
                    self.send_header("location", f"http://{address}:{self.server.server_port}/elsewhere")  # type: ignore[attr-defined]
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = answer  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((address, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.port: int = self._server.server_port

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    with contextlib.closing(Stranger()) as server:
        yield server


@pytest.fixture
def bystander() -> Iterator[Stranger]:
    """On another address of this machine: not one where instances are, so nobody has business there."""
    with contextlib.closing(Stranger("127.0.0.2")) as server:
        yield server


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives and is no instance."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


class Hostile:
    """Fills a directory. ``forged`` are valid records of living processes that are no instances."""

    def __init__(self, directory: Path, owner: subprocess.Popen[bytes]) -> None:
        self.directory = directory
        self._owner = owner
        self.forged: list[Record] = []
        self.dead: list[Path] = []
        self.tokens: list[str] = []

    def record(self, project: str, **changes: Any) -> Record:
        identity = identify(self._owner.pid)
        assert identity is not None
        changes = {"pid": identity.pid, "start_token": identity.start_token, **changes}
        record = record_of_this_process(Path(f"/projects/{project}"), **changes)
        self.tokens.append(record.token)
        return record

    def put(self, name: str, data: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(data)
        path.chmod(0o600)
        return path

    def garbage(self, count: int) -> None:
        """Everything between nothing at all and a record with one thing wrong."""
        rng = random.Random(3)
        good = json.loads(msgspec.json.encode(self.record("victim")))
        for number in range(count):
            self.put(f"garbage-{number:08x}.json", self._one_of_all(number, rng, good))

    def _one_of_all(self, number: int, rng: random.Random, good: dict[str, Any]) -> bytes:
        text = json.dumps(good).encode()
        kinds: list[bytes] = [
            b"",
            rng.randbytes(300),
            text[: rng.randrange(1, len(text))],
            b"[" * 20_000,
            b'{"a":' * 20_000,
            b'{"version":' + b"9" * 400 + b"}",
            b'{"version":1,"version":2',
            b"\xff\xfe" + text,
            b"null",
            b"\0" * 600,
            text,  # a good record under another's name
            json.dumps(
                {**good, rng.choice(list(good)): rng.choice([None, -1, 1e308, [], {}, "\n", "../..", ""])}
            ).encode(),
        ]
        return kinds[number % len(kinds)]

    def big(self) -> None:
        for number in range(20):
            record = self.record(f"big-{number}")
            fields = {**json.loads(encode(record)), "padding": "x" * BIG_BYTES}
            self.put(file_name(record.instance_id), json.dumps(fields).encode())

    def things_that_are_no_files(self) -> None:
        for number in range(10):
            os.mkfifo(self.directory / f"fifo-{number:08x}.json", 0o600)
        inner = bad_path(self.directory, name="folder")
        inner.mkdir()
        bad_path(inner).write_text("{}")
        with socket.socket(socket.AF_UNIX) as server:
            folder = os.open(self.directory, os.O_RDONLY)
            server.bind(f"/proc/self/fd/{folder}/socket-00000000.json")
            os.close(folder)
        if os.geteuid() == 0:
            os.mknod(self.directory / "device-00000000.json", 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero
        for name in (".lock", "garbage-00000000.lock"):
            os.mkfifo(self.directory / name, 0o600)

    def links(self, good: Path) -> None:
        for name, target in {
            "passwd-00000000.json": "/etc/passwd",
            "itself-00000000.json": "itself-00000000.json",
            "nowhere-00000000.json": "/nowhere/at/all",
            "good-00000000.json": str(good),
            "zero-00000000.json": "/dev/zero",
        }.items():
            (self.directory / name).symlink_to(target)

    def of_others(self) -> None:
        for number in range(5):
            record = self.record(f"foreign-{number}")
            os.chown(self.put(file_name(record.instance_id), encode(record)), 54321, 54321)

    def of_the_future(self) -> None:
        """Of processes that are long dead by our reckoning; but what do we know of its fields."""
        for number in range(10):
            record = self.record(f"future-{number}", pid=4_000_000 + number)
            fields = {**json.loads(encode(record)), "version": 2 + number, "pid": {"hidden": True}}
            self.put(file_name(record.instance_id), json.dumps(fields).encode())

    def odd_names(self) -> None:
        record = encode(self.record("odd"))
        for name in (
            b"a\nb.json",
            b"..json",
            b"...json",
            b"-rf.json",
            b"\x1b[31mred.json",
            b"\xff\xfe.json",
            b"%s%n.json",
        ):
            self.put(os.fsdecode(name), record)
        for field, value in {
            "instance_id": "../../etc/passwd",
            "name": "a\nb",
            "directory": "relative/../..",
            "token": "short",
        }.items():
            fields = {**json.loads(record), field: value}
            self.put(f"odd-{field.replace('_', '-')}-00000000.json", json.dumps(fields).encode())

    def strangers(self, port: int, elsewhere: int) -> None:
        """One that a hub has to ask who it is; all the others name addresses where no token may go."""
        record = self.record("claims-a-port", url=f"http://127.0.0.1:{port}/mcp")
        self.forged.append(record)
        self.put(file_name(record.instance_id), encode(record))
        for number, host in enumerate(
            [
                f"127.0.0.2:{elsewhere}",
                f"localhost:{port}",
                f"127.0.0.1:{port}@127.0.0.2:{elsewhere}",
                f"127.0.0.2:{elsewhere}#@127.0.0.1:{port}",
                f"127.0.0.1.example.com:{port}",
                f"0.0.0.0:{port}",
                f"[::ffff:127.0.0.2]:{elsewhere}",
                f"127.0.0.1:{port}/mcp\r\nx: y",
                "192.0.2.1:80",
                "127.0.0.1:99999",
            ]
        ):
            record = self.record(f"not-loopback-{number}")
            fields = {**json.loads(encode(record)), "url": f"http://{host}/mcp"}
            self.put(file_name(record.instance_id), json.dumps(fields).encode())

    def of_the_dead(self) -> None:
        """The only one whose removal anybody may expect."""
        with subprocess.Popen(["sleep", "600"]) as process:
            identity = identify(process.pid)
            process.kill()
        assert identity is not None
        record = self.record("dead", pid=identity.pid, start_token=identity.start_token)
        self.dead.append(self.put(file_name(record.instance_id), encode(record)))

    def inventory(self) -> dict[str, tuple[int, int, int]]:
        found = {}
        for entry in os.scandir(self.directory):
            status = entry.stat(follow_symlinks=False)
            found[entry.name] = (status.st_ino, status.st_size, status.st_uid)
        return found


def fill(hostile: Hostile, stranger: Stranger, bystander: Stranger, good: Path) -> None:
    hostile.garbage(GARBAGE)
    hostile.big()
    hostile.things_that_are_no_files()
    hostile.links(good)
    if OF_OTHERS:
        hostile.of_others()
    hostile.of_the_future()
    hostile.odd_names()
    hostile.strangers(stranger.port, bystander.port)


def timed(action: Any) -> tuple[Any, float]:
    started = time.monotonic()
    result = action()
    return result, time.monotonic() - started


@pytest.mark.promise("a-hostile-directory")
def test_a_hostile_directory_stops_no_hub_and_no_stranger_is_called(
    brum: Brum,
    stranger: Stranger,
    bystander: Stranger,
    sleeper: subprocess.Popen[bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    instance = brum.instance(brum.project("good"))
    hostile = Hostile(brum.instances, sleeper)
    fill(hostile, stranger, bystander, brum.instances / f"{instance.id}.json")
    before = hostile.inventory()
    hostile.of_the_dead()

    hub, first_s = timed(lambda: brum.hub().greet())
    listed, listed_s = timed(lambda: hub.call("instances_list")["instances"])
    states = {item["instance_id"]: item["state"] for item in listed}
    assert states[instance.id] == "ready"
    assert set(states) == {instance.id, hostile.forged[0].instance_id}

    status, status_s = timed(lambda: hub.call("hub_status"))
    by_kind = Counter(problem["code"] for problem in status["problems"] if "path" in problem)
    assert by_kind == dict.fromkeys(KINDS | OF_OTHERS, 1)
    assert len(json.dumps(status)) < 10_000

    done = hub.call("scripts_run", instance=instance.id, name="hello", wait="exit")
    assert done["exit_code"] == 0, done

    parked = {"name": "scripts_status", "arguments": {"instance": hostile.forged[0].instance_id}}
    request = {"jsonrpc": "2.0", "id": "parked", "method": "tools/call", "params": parked}
    hub.send(json.dumps(request).encode() + b"\n")

    (ls, ls_s), (ls_json, ls_json_s) = timed(lambda: brum.run("ls")), timed(lambda: brum.run("ls", "--json"))
    assert ls.status == ls_json.status == 0
    assert instance.record["directory"] in ls.stdout
    assert {item["instance_id"] for item in json.loads(ls_json.stdout)["instances"]} == set(states)
    for kind in KINDS | OF_OTHERS:
        assert ls.stderr.count(f"({kind})") == 1, ls.stderr
    assert ls.stderr.count("\n") == len(KINDS | OF_OTHERS), ls.stderr
    assert "\x1b" not in ls.stderr
    assert within(5, lambda: not hostile.dead[0].exists())

    result = hub.answer_to("parked", 40)["result"]
    assert result["isError"]
    assert result["structuredContent"]["error"]["code"] == "instance_unavailable"

    after = hostile.inventory()
    assert {name: after.get(name) for name in before} == before, "nothing went that was not proven dead"
    check_calls(stranger, bystander, hostile, instance.token)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(after)} files: first answer {first_s:.2f} s, instances_list {listed_s:.2f} s,"
            f" hub_status {status_s:.2f} s, brum ls {ls_s:.2f} and {ls_json_s:.2f} s;"
            f" the stranger was asked who he is {len(stranger.requests)} times, and told nothing\n"
        )
    assert first_s < FIRST_ANSWER_S
    assert max(listed_s, status_s, ls_s, ls_json_s) < LIST_S


def check_calls(stranger: Stranger, bystander: Stranger, hostile: Hostile, token: str) -> None:
    """Who claims to be an instance is asked for a proof, and that is all he ever hears."""
    assert bystander.requests == []
    assert stranger.requests
    assert {method for method, _, _ in stranger.requests} == {"GET"}
    assert {path.partition("?")[0] for _, path, _ in stranger.requests} == {"/identity"}
    heard = "".join(" ".join(request) for request in stranger.requests)
    assert "authorization" not in heard.lower()
    for secret in (token, *hostile.tokens):
        assert secret not in heard
        assert base64.b64encode(secret.encode()).decode() not in heard


def test_garbage_that_keeps_coming_does_not_keep_a_hub_from_its_work(
    brum: Brum, sleeper: subprocess.Popen[bytes]
) -> None:
    instance = brum.instance(brum.project("good"))
    hub = brum.hub().greet()
    hub.call("scripts_list", instance=instance.id)
    hostile, ended = Hostile(brum.instances, sleeper), threading.Event()

    def go_on() -> None:
        while not ended.is_set():
            hostile.garbage(200)
            for path in brum.instances.glob("garbage-*"):
                path.unlink()

    writing = threading.Thread(target=go_on)
    writing.start()
    try:
        took = [timed(lambda: hub.call("scripts_status", instance=instance.id))[1] for _ in range(100)]
        second, found_s = timed(lambda: brum.instance(brum.project("second")))
        found = within(
            5, lambda: second.id in {each["instance_id"] for each in hub.call("instances_list")["instances"]}
        )
    finally:
        ended.set()
        writing.join()
        for path in brum.instances.glob("garbage-*"):
            path.unlink()
    assert found
    assert max(took) < 1.0, sorted(took)[-5:]
    assert found_s < LIST_S


def test_a_life_lock_that_is_a_trap_is_refused_with_words(brum: Brum) -> None:
    instance = brum.instance(brum.project("web"))
    lock = brum.instances / f"{instance.id}.lock"
    instance.end()
    lock.unlink()
    os.mkfifo(lock, 0o600)
    done, took_s = timed(lambda: brum.run("--no-tui", "-d", brum.home / "web"))
    assert done.status == 1
    assert lock.name in done.stderr
    assert took_s < LIST_S
    lock.unlink()
    lock.symlink_to(brum.home / "outside")
    assert brum.run("--no-tui", "-d", brum.home / "web").status == 1
    assert not (brum.home / "outside").exists(), "nothing is made through a link"
    lock.unlink()
    shutil.rmtree(brum.instances)
    brum.instances.symlink_to(brum.home / "web")
    done = brum.run("--no-tui", "-d", brum.home / "web")
    assert (done.status, "symlink" in done.stderr) == (1, True)
