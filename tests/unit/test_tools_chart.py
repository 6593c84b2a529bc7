"""The charts of the state machines: complete, and as fresh as their tables."""

import pytest

from chart import PAGE, Machine, common, edges, identifier, machines, page, section


def test_the_page_is_made_from_the_tables_of_now() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("machine", [*machines()], ids=lambda machine: machine.title)
def test_each_transition_is_an_arrow_or_a_line_below_the_chart(machine: Machine) -> None:
    everywhere = common(machine.table)
    arrows = edges(machine.table, everywhere)
    text = "\n".join(section(machine))
    for before, events in machine.table.items():
        assert f'state "{before}" as {identifier(before)}' in text
        for event, after in events.items():
            assert everywhere.get(event) == after or event in arrows[before, after]
    for (before, after), named in arrows.items():
        assert f"{identifier(before)} --> {identifier(after)}: {', '.join(named)}" in text
    for event, after in everywhere.items():
        others = [state for state, events in machine.table.items() if events.get(event) != after]
        (line,) = [line for line in text.splitlines() if line.startswith(f"- Not in the chart: `{event}`")]
        assert all(f"`{state}`" in line for state in [*others, after])
