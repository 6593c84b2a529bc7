"""How many bytes the usual answers of a hub take on the wire, in this tree and in others.

    .venv/bin/python bench/sizes.py [NAME=DIRECTORY …]

Each DIRECTORY is a tree, such as a worktree of an earlier commit. The table goes to `reports/sizes.md`, too.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
LINES: Final = 100
WAIT_S: Final = 60.0

SLOWLY: Final = f"""\
import time
for n in range(1, {LINES + 1}):
    print(f"job {{n}} done", flush=True)
    time.sleep(0.01)
"""
JOBS: Final = f'print("\\n".join(f"job {{n}} done" for n in range(1, {LINES + 1})))\n'
TRACE: Final = """\
import sys
lines = ["Traceback (most recent call last):"]
for n in range(49):
    lines.append(f'  File "/srv/shop/app/prices.py", line {n}, in price_of_{n}')
    lines.append(f"    return await self.prices[{n}].resolve(order)")
sys.stderr.write("\\n".join([*lines, "KeyError: 'cake'", ""]))
"""
SERVER: Final = """\
import http.server
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(f"ready on http://127.0.0.1:{server.server_port}/", flush=True)
server.serve_forever()
"""

ANSWERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "what runs": ("instances_list", {}),
    "the scripts": ("scripts_list", {}),
    "a server is started": ("scripts_run", {"name": "dev"}),
    "a script runs to its end": ("scripts_run", {"name": "jobs", "wait": "exit"}),
    "a script fails": ("scripts_run", {"name": "fails", "wait": "exit"}),
    "100 short lines": ("logs_tail", {"process": "jobs", "limit": LINES}),
    "a slower script runs to its end": ("scripts_run", {"name": "slowly", "wait": "exit"}),
    "100 short lines, one by one": ("logs_tail", {"process": "slowly", "limit": LINES}),
    "100 lines of a traceback": ("logs_tail", {"process": "fails", "limit": LINES}),
    "a search": ("logs_search", {"query": "job 1", "process": "jobs"}),
    "what happened": ("changes_since", {}),
    "the states of all": ("scripts_status", {}),
}


class Tree:
    """A project with one instance and one hub, run by the code of a tree."""

    def __init__(self, tree: Path, place: Path) -> None:
        self._project = place / "shop"
        self._project.mkdir()
        for name, text in (
            ("jobs.py", JOBS),
            ("slowly.py", SLOWLY),
            ("fails.py", TRACE + "sys.exit(1)\n"),
            ("dev.py", SERVER),
        ):
            (self._project / name).write_text(text)
        scripts = ("jobs", "slowly", "fails", "dev")
        self._project.joinpath("Procfile").write_text(
            "".join(f"{name}: exec {sys.executable} -I {name}.py\n" for name in scripts)
        )
        self._instances = place / "instances"
        self._instances.mkdir(mode=0o700)
        environment = {"BRUMMER_INSTANCES_DIR": str(self._instances), "PYTHONPATH": str(tree / "src")}
        self._environment = {**os.environ, **environment}
        self._command = [sys.executable, "-c", "from brummer.__main__ import main; raise SystemExit(main())"]

    def sizes(self) -> dict[str, int]:
        instance = self._started("-d", str(self._project), stdin=subprocess.DEVNULL)
        try:
            until_s = time.monotonic() + WAIT_S
            while not any(self._instances.glob("*.json")):
                assert instance.poll() is None, "the instance ended"
                assert time.monotonic() < until_s, "the instance is not published"
                time.sleep(0.05)
            return self._asked()
        finally:
            instance.terminate()
            instance.wait(timeout=WAIT_S)

    def _started(self, *arguments: str, stdin: int) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self._command, *arguments],
            cwd=self._project,
            env=self._environment,
            stdin=stdin,
            stdout=subprocess.PIPE if stdin == subprocess.PIPE else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def _asked(self) -> dict[str, int]:
        client = {"name": "sizes", "version": "1"}
        greeting = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        messages: list[dict[str, Any]] = [{"id": 0, "method": "initialize", "params": greeting}]
        with self._started("--mcp", stdin=subprocess.PIPE) as hub:
            assert hub.stdin
            assert hub.stdout
            sizes: dict[str, int] = {}
            for number, (tool, arguments) in enumerate(ANSWERS.values(), 1):
                messages.append(
                    {"id": number, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
                )
            for message, name in zip(messages, ["", *ANSWERS], strict=True):
                hub.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
                hub.stdin.flush()
                line = hub.stdout.readline()
                answer = json.loads(line)
                assert not answer["result"].get("isError"), (name, answer)
                if name:
                    sizes[name] = len(line.encode())
            hub.stdin.close()
        return sizes


def raw_bytes() -> dict[str, int]:
    """Of the output alone."""
    jobs = sum(len(f"job {n} done\n") for n in range(1, LINES + 1))
    trace = subprocess.run([sys.executable, "-c", TRACE], stderr=subprocess.PIPE, check=True).stderr
    return {"100 short lines": jobs, "100 short lines, one by one": jobs, "100 lines of a traceback": len(trace)}


def main(arguments: list[str]) -> int:
    trees = {**dict(each.split("=", 1) for each in arguments), "this tree": str(ROOT)}
    sizes = {}
    for name, tree in trees.items():
        with tempfile.TemporaryDirectory() as place:
            sizes[name] = Tree(Path(tree), Path(place)).sizes()
    raw = raw_bytes()
    lines = [
        "# Bytes of usual answers",
        "",
        "One message of the hub each, text and structured content together; `bench/sizes.py` measures it. The instance",
        "has one server, a script that prints 100 short lines at once, one that prints them one by one, in different",
        "milliseconds, and one that fails with a traceback of 100 lines.",
        "",
        "| answer | tool | " + " | ".join(sizes) + " | of the output's bytes |",
        "|---|---|" + "---:|" * (len(sizes) + 1),
    ]
    for answer, (tool, _) in ANSWERS.items():
        cells = [f"{each[answer]:,}" for each in sizes.values()]
        times = f"{sizes['this tree'][answer] / raw[answer]:.2f} × {raw[answer]:,}" if answer in raw else ""
        lines.append(f"| {answer} | `{tool}` | {' | '.join(cells)} | {times} |")
    text = "\n".join(lines) + "\n"
    print(text)
    (ROOT / "reports" / "sizes.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
