from itertools import product
from typing import get_args

import pytest

from brummer.instance.lifecycle import ENDED, TABLE, ScriptEvent, ScriptState, WrongEvent, after


@pytest.mark.parametrize(
    ("events", "state"),
    [
        (["start_due", "spawned", "became_ready", "stop_asked", "ended_badly"], "stopped"),
        (["start_due", "spawned", "ended_well"], "exited"),
        (["start_due", "spawned", "became_ready", "ended_badly"], "failed"),
        (["start_due", "spawned", "looped"], "crash-looping"),
        (["start_due", "spawn_failed"], "failed"),
        (["start_due", "looped"], "crash-looping"),
        (["stop_asked"], "stopped"),
        (["given_up"], "failed"),
    ],
)
def test_a_run_goes_through_its_states(events: list[ScriptEvent], state: ScriptState) -> None:
    current: ScriptState = "pending"
    for event in events:
        current = after(current, event)
    assert current == state


def test_an_event_that_is_not_in_the_table_raises() -> None:
    for state, event in product(get_args(ScriptState), get_args(ScriptEvent)):
        if (state, event) not in TABLE:
            with pytest.raises(WrongEvent) as caught:
                after(state, event)
            assert (caught.value.state, caught.value.event) == (state, event)


def test_nothing_leaves_an_end_and_every_other_state_can_be_left() -> None:
    assert {state for state, _ in TABLE} == set(get_args(ScriptState)) - ENDED
