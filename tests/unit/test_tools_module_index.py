"""The page of all modules: each has what it is for, and tests."""

import re
from collections import defaultdict

from module_index import SOURCE, Module, its_tests, listed, page

ROWS = [line.split(" | ") for line in "\n".join(page()).splitlines() if line.startswith("| [")]


def test_each_module_says_what_it_is_for() -> None:
    assert len(ROWS) > 300
    for module, purpose, _ in ROWS:
        assert re.fullmatch(r"\S.*\S", purpose), module


def test_each_module_leads_to_tests() -> None:
    assert [module for module, _, tests in ROWS if "test_" not in tests] == []


def test_tests_named_after_the_module_come_first() -> None:
    module = Module("brummer.wire.http.sse", SOURCE / "brummer/wire/http/sse.py")
    tests = dict.fromkeys(("test_core_errors.py", "test_wire_sse.py", "test_wire_eras.py"), 0)
    assert listed(module, tests) == "`test_wire_sse.py`, `test_wire_eras.py`, `test_core_errors.py`"


def test_tests_across_all_packages_count_only_for_the_module_that_they_are_named_after() -> None:
    module = Module("brummer.contract.tools", SOURCE / "brummer/contract/tools.py")
    tests = defaultdict[str, set[str]](set)
    tests["brummer.contract.tools"] = {"test_contract.py", "test_related_constants.py"}
    assert list(its_tests(module, tests, set())) == ["`test_contract.py`"]


def test_tests_of_the_users_of_a_module_follow_in_brackets() -> None:
    module = Module("brummer.instance.changes", SOURCE / "brummer/instance/changes.py")
    tests = defaultdict[str, set[str]](set)
    tests["brummer.instance.changes"] = {"test_contract.py"}
    tests["brummer.instance.tools"] = {"test_instance_ledger.py", "test_instance_tools.py"}
    tests["brummer.instance.idle"] = {"test_instance_idle.py"}
    listed_of_users = "(`test_instance_tools.py`, `test_instance_ledger.py`, `test_instance_idle.py`)"
    assert list(its_tests(module, tests, {"brummer.instance.tools"})) == [listed_of_users]
