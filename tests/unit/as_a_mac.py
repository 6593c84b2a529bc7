"""A program that runs Brummer as on a Mac: `sys.platform` says so, and the system's calls are those of `fake_mac`.

Its processes, sockets and files are real. It prints, as JSON, the lines of Brummer that ran in branches for macOS, by
file. Assertions here fail the test that runs it (`test_host_macos_branches`).
"""

# The order matters: the standard library is imported before the platform changes, Brummer after it.
# ruff: noqa: PLC0415

import asyncio
import contextlib
import ctypes
import importlib
import json
import os
import pkgutil
import select
import socket
import sys
import tempfile
import threading
import time
import types
import uuid
from pathlib import Path
from typing import Any, Final

from tests.unit.fake_mac import FakeKernel, library_of_this_machine
from tests.unit.platform_branches import BRUMMER, lines_for_macos

WITHIN_S: Final = 30.0
GENERATION: Final = uuid.uuid4().hex

ran: dict[str, set[int]] = {}


def become_a_mac() -> None:
    library, kernel = library_of_this_machine(), FakeKernel()
    load = ctypes.CDLL

    def loaded(name: str | None = None, **how: Any) -> Any:
        return library if name is None else load(name, **how)

    replaced: list[tuple[Any, str, Any]] = [
        (ctypes, "CDLL", loaded),
        (select, "kqueue", kernel.kqueue),
        (select, "kevent", kernel.kevent),
        (time, "CLOCK_UPTIME_RAW", time.CLOCK_MONOTONIC),
        (sys, "platform", "darwin"),
    ]
    for module, name, value in replaced:
        setattr(module, name, value)


def trace_brummer() -> None:
    """Note the lines that run in files with branches for macOS."""
    wanted = {str(path): name for path, name in ((BRUMMER / name, name) for name in lines_for_macos())}

    def on_call(frame: types.FrameType, _event: str, _argument: object) -> Any:
        name = wanted.get(frame.f_code.co_filename)
        if name is None:
            return None
        lines = ran.setdefault(name, set())

        def on_line(frame: types.FrameType, event: str, _argument: object) -> Any:
            if event == "line":
                lines.add(frame.f_lineno)
            return on_line

        lines.add(frame.f_lineno)
        return on_line

    threading.settrace(on_call)
    sys.settrace(on_call)


def import_all() -> None:
    import brummer

    for module in pkgutil.walk_packages(brummer.__path__, "brummer."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


async def scripts_end_with_all_that_they_started() -> None:
    """Also members of the group that ignore SIGTERM, and what has left the group."""
    from brummer.instance.detect import Script
    from brummer.instance.manager import Manager
    from brummer.process.guard import Guard
    from brummer.process.guard_main import scan

    stubborn = "(trap '' TERM; echo up; exec sleep 601) & setsid sleep 602 & sleep 603"
    async with asyncio.timeout(WITHIN_S), Manager(GENERATION, Guard(GENERATION)) as manager:
        run, _ = await manager.ensure(Script("web", stubborn, "test", "/", stop_timeout_s=0.2))
        while not any(b"web" in mark and b"602" in command_of(pid) for pid, mark in scan()[1].items()):
            await asyncio.sleep(0.01)
        await manager.stop(run)
        living, environments = scan()
        assert run.pid not in {group for group, *_ in living.values()}
        assert not [pid for pid, marks in environments.items() if GENERATION.encode() in marks]
        failed, _ = await manager.ensure(Script("fails", "exit 3", "test", "/"))
        await manager.until(failed, "exit", WITHIN_S)
        assert failed.status().exit_code == 3


def command_of(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


async def a_terminal_keeps_what_was_printed_last() -> None:
    from brummer.process.child import start

    printed: list[bytes] = []
    child = start("seq 2000", "/", dict(os.environ), lambda _, chunk: printed.append(chunk), stdin="terminal")
    async with asyncio.timeout(WITHIN_S):
        exit_ = await child.ended
    assert (exit_.exit_code, exit_.output_complete) == (0, True)
    assert b"".join(printed).split() == [b"%d" % number for number in range(1, 2001)]


def usage_is_seen() -> None:
    from brummer.host.process_usage import TICKS_A_SECOND, process_tokens, usage_of

    usage = usage_of(os.getpid())
    assert usage is not None
    assert (usage.parent, usage.group, usage.resident_bytes) == (os.getppid(), os.getpgid(0), 4096)
    assert os.getpid() in process_tokens()
    assert TICKS_A_SECOND == 100


async def ports_and_their_owners_are_seen() -> None:
    from brummer.host.ports import is_free, listeners, listening_ports
    from brummer.host.process_facts import arguments, command_line, has_open, inherited_variable
    from brummer.instance import ports

    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.NamedTemporaryFile() as file:
        port = server.getsockname()[1]
        assert await asyncio.to_thread(listening_ports, [os.getpid()]) >= {port}
        assert (await asyncio.to_thread(listeners, range(port, port + 1)))[port][0] == os.getpid()
        try:
            ports.listen(port, None)
        except ports.PortTaken:
            pass
        else:
            raise AssertionError
        assert has_open(os.getpid(), Path(file.name))
        assert not has_open(os.getpid(), Path("/etc/hostname"))
        assert not await asyncio.to_thread(is_free, port)
    assert await asyncio.to_thread(is_free, port)
    assert "as_a_mac" in command_line(os.getpid())
    assert any("as_a_mac" in argument for argument in arguments(os.getpid()))
    assert inherited_variable(os.getpid(), "AS_A_MAC") == "yes"


async def an_instance_is_found(directory: Path) -> None:
    """Also an instance of a guard, of which the real one runs."""
    from brummer.discovery.events import Appeared, Gone
    from brummer.discovery.registry import Registry
    from brummer.instance.service import Options, running_instance

    environ = {**os.environ, "BRUMMER_INSTANCES_DIR": str(directory)}
    async with asyncio.timeout(WITHIN_S), Registry(directory) as registry:
        assert registry.statistics().watch == "kqueue"
        async with running_instance(Options(directory.parent), environ) as instance:
            event = await anext(registry)
            assert isinstance(event, Appeared)
            assert event.record == instance.record
        assert isinstance(await anext(registry), Gone)


def a_hub_is_found_under_a_long_path(directory: Path) -> None:
    from brummer.host.private_sockets import address_of, is_dead, listen_privately

    place = directory / ("Application Support " * 6)
    place.mkdir(parents=True)
    path = place / f"hub-{os.getpid()}.sock"
    listener, _ = listen_privately(path, 1)
    with listener, address_of(path) as address, socket.socket(socket.AF_UNIX) as client:
        client.connect(address)
    assert not is_dead(path, os.getpid())  # it refuses, as a hub with a full queue does there
    assert is_dead(path, 2**22 + 1)


def places_do_not_depend_on_the_environment() -> None:
    from brummer.cli.commands import mcp_config
    from brummer.discovery.directory import black_box_directory, instances_directory, log_directory
    from brummer.discovery.record import instance_id_for

    for find in (black_box_directory, instances_directory, log_directory):
        assert find({}) == find({"HOME": "/none", "XDG_STATE_HOME": "/none", "XDG_RUNTIME_DIR": "/tmp"})
        assert "Application Support" in str(find({}))
    assert instances_directory({}) != log_directory({})
    assert instance_id_for(Path("/usr/bin"))
    assert "Library/Application Support" in mcp_config.text("claude-desktop")


def settings_of_an_agent_are_in_its_library() -> None:
    from brummer.cli.commands.mcp_config import text

    assert "Library/Application Support" in text("vscode")


async def hints_and_clocks_are_those_of_a_mac() -> None:
    from brummer.host import clocks, descriptors, filesystems, hangups, interfaces, memory

    running = asyncio.get_running_loop()
    clocks.watch_clocks(running, lambda: None, lambda _: None).close()
    with contextlib.suppress(OSError):  # only root opens a socket of that number on Linux
        interfaces.watch_network(running, lambda: None, lambda _: None).close()
    assert interfaces.carrier() is None
    assert not interfaces.loopback_is_up()  # Linux has no lo0
    reading = clocks.reading()
    assert (reading.suspends, reading.awake_s > 0, reading.elapsed_s > 0) == (0, True, True)
    assert filesystems.filesystem_name(Path("/")) == "apfs"
    assert memory.resident_bytes() == 4096
    memory.trim()
    descriptors.prepare_descriptors_of_instance()
    assert type(running).__module__.startswith("asyncio.")  # the time of uvloop counts sleep there
    read_end, write_end = os.pipe()
    hung_up = asyncio.Event()
    stop = hangups.watch_hangup(running, write_end, hung_up.set)
    os.close(read_end)
    async with asyncio.timeout(WITHIN_S):
        await hung_up.wait()
    stop()
    os.close(write_end)


def connections_have_the_options_of_a_mac() -> None:
    from brummer.wire.http.tcp_options import set_tcp_options

    class Options:
        def __init__(self) -> None:
            self.calls: list[tuple[int, int, int]] = []

        def setsockopt(self, *call: int) -> None:
            self.calls.append(call)  # type: ignore[arg-type]

    options: Any = Options()
    set_tcp_options(options)
    assert (socket.IPPROTO_TCP, 0x80, 30) in options.calls


async def a_guard_finds_what_left_its_group() -> None:
    """The guard's own code, in this process."""
    from brummer.process import guard, guard_main

    assert [path.name for path in guard.PROGRAMS] == ["guard_main.py", "process_table.py"]
    mark = f"g{GENERATION}"
    process = await asyncio.create_subprocess_exec(
        "setsid", "sleep", "604", env={"BRUMMER_PROCESS": mark, "PATH": os.environ["PATH"]}
    )
    async with asyncio.timeout(WITHIN_S):
        while process.pid not in guard_main.scan()[1]:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(guard_main.end_all, set(), guard_main.MARK + mark.encode())
        assert await process.wait() == -15


def a_guard_without_an_instance_ends() -> None:
    from brummer.process import guard_main

    reader, writer = os.pipe()
    os.dup2(reader, 0)
    os.close(writer)
    guard_main.main("none")


async def main(directory: Path) -> int:
    await scripts_end_with_all_that_they_started()
    await a_terminal_keeps_what_was_printed_last()
    usage_is_seen()
    await ports_and_their_owners_are_seen()
    await an_instance_is_found(directory / "instances")
    a_hub_is_found_under_a_long_path(directory)
    places_do_not_depend_on_the_environment()
    settings_of_an_agent_are_in_its_library()
    await hints_and_clocks_are_those_of_a_mac()
    connections_have_the_options_of_a_mac()
    await a_guard_finds_what_left_its_group()
    return 0


if __name__ == "__main__":
    become_a_mac()
    proxies: Any = types.ModuleType("_scproxy")  # every Mac has it
    proxies.__dict__.update(_get_proxies=dict, _get_proxy_settings=dict)
    sys.modules["_scproxy"] = proxies
    trace_brummer()
    import_all()
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "instances").mkdir(0o700)
        from brummer.host.loop import run

        assert run(main(Path(temporary))) == 0
    a_guard_without_an_instance_ends()
    sys.settrace(None)
    sys.stdout.write(json.dumps({name: sorted(lines) for name, lines in ran.items()}) + "\n")
