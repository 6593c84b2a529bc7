"""Writes the charts of all state machines into docs/states.md, from their tables in the source.

``chart.py`` writes the page; with ``--check`` it writes nothing and fails if the page is stale.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from brummer.calls import call_run
from brummer.instance import lifecycle
from brummer.link import state as link_state
from generated import status, update

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "states.md"
HEAD: Final = """# States

Made by `make docs` from the tables in the source; do not edit it. The terms are those of the [glossary](glossary.md);
the [pictures](pictures.md) show where these events come from. An event that a table does not have in a state is a
defect: it raises an error, and changes nothing.
"""

Table = Mapping[str, Mapping[str, str]]
"""State → event → state; every state is a key."""


@dataclass(frozen=True)
class Machine:
    """``source`` is the file of its table, below src/brummer. ``shown``: states that look like another from outside."""

    title: str
    source: str
    text: str
    start: str
    table: Table
    shown: Mapping[str, str]


def machines() -> Iterator[Machine]:
    """Those that have a table."""
    yield Machine(
        "A link",
        "link/state.py",
        "What the hub knows of one peer. The header of its file names the other state machines that decide with it.",
        link_state.LinkState.DISCOVERED.value,
        {
            before.value: {event.value: after.value for event, after in events.items()}
            for before, events in link_state.TRANSITIONS.items()
        },
        {state.value: state.shown for state in link_state.LinkState if state.shown != state.value},
    )
    yield Machine(
        "A call",
        "calls/call_run.py",
        "What a call over a link waits for. Every state in which it is not over can fail, expire or be cancelled.",
        call_run.CallState.STEPPING.value,
        {
            before.value: {event.value: after.value for event, after in events.items()}
            for before, events in call_run.TRANSITIONS.items()
        },
        {},
    )
    runs: dict[str, dict[str, str]] = {state: {} for state in get_args(lifecycle.ScriptState)}
    for (before, event), after in lifecycle.TABLE.items():
        runs[before][event] = after
    yield Machine("A run of a script", "instance/lifecycle.py", "From its start to its end.", "pending", runs, {})


def page() -> str:
    """The whole page."""
    return HEAD + "".join("\n".join(("", *section(machine), "")) for machine in machines())


def section(machine: Machine) -> Iterator[str]:
    """The chart of one machine, and what it leaves out."""
    everywhere = common(machine.table)
    yield f"## {machine.title}"
    yield ""
    yield f"{machine.text} The table is in [`{machine.source}`](../src/brummer/{machine.source})."
    yield ""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield from (f'    state "{state}" as {identifier(state)}' for state in machine.table)
    yield f"    [*] --> {identifier(machine.start)}"
    for (before, after), events in edges(machine.table, everywhere).items():
        yield f"    {identifier(before)} --> {identifier(after)}: {', '.join(events)}"
    yield "```"
    yield ""
    for event, after in everywhere.items():
        others = [state for state, events in machine.table.items() if events.get(event) != after]
        but = f" but {', '.join(f'`{state}`' for state in others)}" if others else ""
        yield f"- Not in the chart: `{event}` leads from every state{but} to `{after}`."
    for state, shown in machine.shown.items():
        yield f"- Agents and people see `{state}` as `{shown}`."


def common(table: Table) -> dict[str, str]:
    """The events that lead from more than half of all states to one state."""
    found = {}
    for event in dict.fromkeys(event for events in table.values() for event in events):
        targets = [events[event] for events in table.values() if event in events]
        most = max(targets, key=targets.count)
        if targets.count(most) * 2 > len(table):
            found[event] = most
    return found


def edges(table: Table, everywhere: Mapping[str, str]) -> dict[tuple[str, str], list[str]]:
    """(before, after) → events, without those that lead there from everywhere."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for before, events in table.items():
        for event, after in events.items():
            if everywhere.get(event) != after:
                found[before, after].append(event)
    return found


def identifier(state: str) -> str:
    """The name of a state inside the chart."""
    return state.replace("-", "_")


def main() -> int:
    return status(update(PAGE, page(), "docs/states.md is stale"))


if __name__ == "__main__":
    sys.exit(main())
