"""The guards of tests/conftest.py, tried on a suite that breaks every rule once, in a pytest of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil
import pytest

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
MARK = "BRUMMER_TEST_RUN"
"""As in tests/conftest.py."""

RULE_BREAKERS = """
    import asyncio
    import subprocess
    import sys
    import time
    import warnings

    import brummer
    import pytest

    SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]

    def in_brummer(source):
        # Code that the guard takes for a module of the package.
        names = {}
        exec(compile(source, brummer.__path__[0] + "/probe.py", "exec"), names)
        return names["probe"]

    def test_clean():
        subprocess.run([sys.executable, "-c", "pass"], check=True)

    async def test_clean_async():
        task = asyncio.create_task(asyncio.sleep(0))
        await task
        assert asyncio.get_running_loop().get_debug()
        assert type(asyncio.get_running_loop()).__module__.startswith("asyncio.")

    def test_warns():
        warnings.warn("loose end", UserWarning)

    def test_never_awaits():
        asyncio.sleep(1)

    async def test_leaks_a_task():
        asyncio.create_task(asyncio.sleep(60), name="straggler")

    @pytest.fixture
    async def careless():
        task = asyncio.create_task(asyncio.sleep(60), name="careless-fixture")
        yield

    async def test_leaks_through_a_fixture(careless):
        pass

    @pytest.fixture
    async def careful():
        task = asyncio.create_task(asyncio.sleep(60))
        yield
        task.cancel()

    async def test_keeps_a_task_in_a_fixture(careful):
        pass

    @pytest.fixture(scope="module")
    def shared():
        # Runs a process until its input ends.
        source = f"import subprocess\\ninput()\\nchild = subprocess.Popen({SLEEPER!r})\\nprint('runs', flush=True)\\n"
        command = [sys.executable, "-c", source + "try: input()\\nexcept EOFError: child.kill(); child.wait()"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
            yield program

    def test_lets_a_shared_program_start_a_process(shared):
        shared.stdin.write("start\\n")
        shared.stdin.flush()
        assert shared.stdout.readline() == "runs\\n"

    def test_leaks_a_process():
        global kept
        kept = subprocess.Popen(SLEEPER)

    def test_leaks_an_orphan():
        # The parent ends at once, so the sleeper belongs to nobody we know.
        start = f"import subprocess; subprocess.Popen({SLEEPER!r}, start_new_session=True)"
        subprocess.run([sys.executable, "-W", "ignore", "-c", start], check=True)

    async def test_blocks():
        in_brummer("import time\\ndef probe(): time.sleep(0)")()

    async def test_blocks_and_hides_it():
        in_brummer("import time\\ndef probe():\\n try: time.sleep(0)\\n except Exception: pass")()

    async def test_syncs_a_file(tmp_path):
        with (tmp_path / "file").open("wb") as file:
            in_brummer("import os\\ndef probe(fd): os.fsync(fd)")(file.fileno())

    def test_blocks_without_a_loop():
        in_brummer("import time\\ndef probe(): time.sleep(0)")()

    async def test_blocks_outside_brummer():
        time.sleep(0)

    def test_blocks_in_a_loop_of_its_own():
        async def main():
            in_brummer("import time\\ndef probe(): time.sleep(0)")()
        asyncio.run(main())

    def test_skips():
        pytest.skip("no reason to speak of")

    @pytest.mark.skipif(True, reason="marked")
    def test_is_skipped_by_mark():
        pass

    def test_skips_for_the_platform():
        pytest.skip("platform: needs another one")

    @pytest.mark.xfail
    def test_fails_as_expected():
        assert False
"""

SKIPS_WHOLE = 'import pytest\npytest.skip("the whole module", allow_module_level=True)\n'

# What each rule breaker must be told. The others must pass.
COMPLAINTS = {
    "test_warns": "loose end",
    "test_never_awaits": "never awaited",
    "test_leaks_a_task": "straggler",
    "test_leaks_through_a_fixture": "careless-fixture",
    "test_leaks_a_process": "left a process running",
    "test_leaks_an_orphan": "left a process running",
    "test_blocks": "Blocking call to time.sleep",
    "test_blocks_and_hides_it": "blocked the event loop: time.sleep",
    "test_syncs_a_file": "Blocking call to os.fsync",
    "test_blocks_in_a_loop_of_its_own": "Blocking call to time.sleep",
}
PASSES = {
    "test_clean",
    "test_clean_async",
    "test_keeps_a_task_in_a_fixture",
    "test_lets_a_shared_program_start_a_process",
    "test_blocks_without_a_loop",
    "test_blocks_outside_brummer",
}
SKIPS = {
    "test_skips": "no reason to speak of",
    "test_is_skipped_by_mark": "marked",
    "test_skips_whole": "the whole module",
}


class Outcomes:
    """What another pytest said of each test: the text of its failures, and who was skipped."""

    def __init__(self, report: Path) -> None:
        self.failures: dict[str, str] = {}
        self.passed: set[str] = set()
        self.skipped: set[str] = set()
        for case in ET.parse(report).iter("testcase"):
            name = case.attrib["name"]
            bad = [*case.iter("failure"), *case.iter("error")]
            if bad:
                text = "".join(f"{entry.attrib.get('message')}\n{entry.text}" for entry in bad)
                self.failures[name] = self.failures.get(name, "") + text
            elif case.find("skipped") is not None:
                self.skipped.add(name)
            else:
                self.passed.add(name)


def run_elsewhere(folder: Path, **environment: str) -> Outcomes:
    """A pytest of its own in `folder`, with this project's configuration and guards."""
    (folder / "conftest.py").write_bytes((TESTS / "conftest.py").read_bytes())
    (folder / "test_rules.py").write_text(textwrap.dedent(RULE_BREAKERS))
    (folder / "test_skips_whole.py").write_text(SKIPS_WHOLE)
    report = folder / "report.xml"
    pytest_here = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}"]
    pytest_here.append("--continue-on-collection-errors")
    done = subprocess.run(
        [*pytest_here, "-c", ROOT / "pyproject.toml", f"--junitxml={report}", folder],
        cwd=folder,
        env={**os.environ, "BRUMMER_CI": "", **environment},
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    return Outcomes(report)


@pytest.fixture(scope="module")
def anywhere(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_elsewhere(tmp_path_factory.mktemp("anywhere"))


@pytest.fixture(scope="module")
def in_ci(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_elsewhere(tmp_path_factory.mktemp("in_ci"), BRUMMER_CI="1")


@pytest.mark.promise("tests-leave-nothing")
@pytest.mark.parametrize(("test", "complaint"), COMPLAINTS.items(), ids=COMPLAINTS)
def test_a_broken_rule_fails_the_test_that_broke_it(anywhere: Outcomes, test: str, complaint: str) -> None:
    assert complaint in anywhere.failures[test]


def test_nothing_else_fails(anywhere: Outcomes) -> None:
    assert anywhere.passed == PASSES
    assert anywhere.failures.keys() == COMPLAINTS.keys()


def test_what_a_test_left_running_has_been_killed(anywhere: Outcomes) -> None:
    sleepers = [
        process.pid
        for process in psutil.process_iter()
        if _is_of_this_test_run(process) and "import time; time.sleep(60)" in _command_line(process)
    ]
    assert sleepers == []


def _is_of_this_test_run(process: psutil.Process) -> bool:
    """Others may test here at the same time."""
    try:
        return process.environ().get(MARK, "").startswith(os.environ[MARK])
    except psutil.Error:
        return False


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.parametrize(("test", "reason"), SKIPS.items(), ids=SKIPS)
def test_a_skip_is_a_failure_in_ci(anywhere: Outcomes, in_ci: Outcomes, test: str, reason: str) -> None:
    assert test in anywhere.skipped
    assert reason in in_ci.failures[test]


@pytest.mark.parametrize("test", ["test_skips_for_the_platform", "test_fails_as_expected"])
def test_a_skip_for_the_platform_and_an_expected_failure_pass_in_ci(in_ci: Outcomes, test: str) -> None:
    assert test in in_ci.skipped
