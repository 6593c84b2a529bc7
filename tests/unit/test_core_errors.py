"""An error of any class is retryable only if the work has not run."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import get_args

import pytest

import brummer
from brummer.core.errors import BrummerError, Outcome


def classes(base: type[BrummerError] = BrummerError) -> Iterator[type[BrummerError]]:
    yield base
    for each in base.__subclasses__():
        yield from classes(each)


def every_error() -> list[type[BrummerError]]:
    for module in pkgutil.walk_packages(brummer.__path__, "brummer."):
        if "__main__" not in module.name and ".testing" not in module.name:
            importlib.import_module(module.name)
    return sorted(set(classes()), key=lambda each: each.__qualname__)


@pytest.mark.promise("honest-unknown")
@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_no_error_is_retryable_unless_its_work_has_not_run(outcome: Outcome) -> None:
    transient = 0
    for kind in every_error():
        error = kind.__new__(kind)
        BrummerError.__init__(error, "it failed", retry_after_s=1.0, outcome=outcome)
        told = error.as_data()
        assert told["retryable"] is (kind.transient and outcome == "not_executed"), kind
        assert (told["retry_after_s"] is None) is not told["retryable"], kind
        transient += kind.transient
    assert transient > 5


def test_a_changed_outcome_changes_retryable() -> None:
    class Lost(BrummerError):
        transient = True

    error = Lost("it failed", outcome="unknown", retry_after_s=1.0)
    assert (error.retryable, error.as_data()["retry_after_s"]) == (False, None)
    error.outcome = "not_executed"
    assert (error.retryable, error.as_data()["retry_after_s"]) == (True, 1.0)
