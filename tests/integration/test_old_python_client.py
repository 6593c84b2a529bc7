"""The official Python SDK before version 2, which knows the older era only, by every way to hub and instance."""

from pathlib import Path

import pytest

from tests.integration.foreign_clients import check_every_front
from tests.integration.programs import LEGACY, Brum

CLIENT = Path(__file__).parent / "clients" / "old_python_client.py"


@pytest.mark.promise("official-clients")
def test_it_lists_and_calls(brum: Brum, old_sdk_python: Path) -> None:
    check_every_front([old_sdk_python, CLIENT], brum, "legacy", LEGACY)
