"""``brum wait``: wait until something is true of a script."""

import argparse
from typing import Any, Final

from brummer.cli import options
from brummer.cli.colour import shortened
from brummer.cli.messages import print_json, say
from brummer.cli.package_scripts import full_names
from brummer.cli.process_table import question_of
from brummer.cli.project import EXIT_TIMED_OUT, Project, with_project
from brummer.contract.processes import ShownProcess, processes_of
from brummer.discovery.record import displayable

DETAILS: Final = (
    "The script may start later. Exit status 0 when the condition came true; with --exit, only if the script ended with"
    " 0."
)
EARLIER: Final = "1970-01-01T00:00:00Z"
"""A line that the current run has printed before the command counts, too."""
INSTANCE_RETURN_S: Final = 20.0
"""An instance that restarts while a command waits gets as long as a hub gives it."""


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_project(parser)
    parser.add_argument("script", type=options.text, metavar="SCRIPT")
    condition = parser.add_mutually_exclusive_group()
    condition.add_argument("--ready", action="store_true", help="it is ready (the default)")
    condition.add_argument("--exit", action="store_true", help="it has ended")
    condition.add_argument("--log", type=options.text, metavar="REGEX", help="it has printed a line that matches")
    condition.add_argument("--port", type=options.port, metavar="N", help="this port accepts connections")
    parser.add_argument(
        "--timeout", type=options.duration, default=30.0, metavar="TIME", help="default 30s; also 500ms, 2m, 1h"
    )
    options.add_json(parser, "print JSON, the answer of wait_for")


def run(chosen: argparse.Namespace) -> int:
    wanted = condition_of(chosen)

    async def wait(project: Project) -> int:
        [script] = await full_names(project, [chosen.script])
        answer = await project.call("wait_for", process=script, timeout_s=chosen.timeout, **wanted)
        process = next(iter(processes_of({"processes": [answer["process"]]})), None) if answer.get("process") else None
        status, text = verdict(script, wanted, answer, process)
        if chosen.json:
            print_json(answer)
        else:
            print(text) if status == 0 else say(text)
        return status

    return with_project(chosen, wait, INSTANCE_RETURN_S)


def condition_of(chosen: argparse.Namespace) -> dict[str, Any]:
    """The condition as `wait_for` takes it."""
    given = {
        "log": chosen.log,
        "since": EARLIER if chosen.log is not None else None,
        "port": chosen.port,
        "exit": chosen.exit or None,
    }
    return {key: value for key, value in given.items() if value is not None} or {"ready": True}


def verdict(
    script: str, wanted: dict[str, Any], answer: dict[str, Any], process: ShownProcess | None
) -> tuple[int, str]:
    """The exit status, and the message."""
    name, state = shortened(script), process.outcome if process else "not started"
    if not answer.get("matched"):
        if process and not process.runs:
            return 1, f"{name} has ended before the condition came true: it is {state}"
        question = f", and {asks}" if process and (asks := question_of(process)) else ""
        late = f"{name}: the condition did not come true in {answer.get('waited_s')} s; it is {state}{question}"
        return EXIT_TIMED_OUT, late
    if line := answer.get("line"):
        return 0, displayable(str(line.get("text", "")))
    if "port" in wanted:
        return 0, f"port {wanted['port']} accepts connections"
    if "exit" in wanted:
        return (0 if process and process.exit_code == 0 else 1), f"{name} is {state}"
    return 0, " ".join([f"{name} is {state}", *(process.urls if process else [])])
