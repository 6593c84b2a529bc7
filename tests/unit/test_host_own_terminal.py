"""Whether a terminal is ours to use."""

import os

from brummer.host.own_terminal import is_ours


def test_a_pipe_is_no_terminal() -> None:
    ends = os.pipe()
    try:
        assert not is_ours(ends)
    finally:
        for end in ends:
            os.close(end)


def test_a_terminal_that_does_not_control_us_is_not_ours() -> None:
    ends = os.openpty()
    try:
        assert not is_ours(ends[1:])
    finally:
        for end in ends:
            os.close(end)
