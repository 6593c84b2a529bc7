"""The official TypeScript client (2.4) through the hub and straight to an instance, in every mode that it has."""

from pathlib import Path

import pytest

from tests.integration.foreign_clients import check_every_front
from tests.integration.programs import LEGACY, MODERN, Brum


@pytest.mark.promise("official-clients")
@pytest.mark.parametrize(("mode", "protocol"), [("legacy", LEGACY), ("auto", MODERN), (MODERN, MODERN)])
def test_it_lists_and_calls(brum: Brum, node: Path, js: Path, mode: str, protocol: str) -> None:
    check_every_front([node, js / "client.mjs"], brum, mode, protocol)
