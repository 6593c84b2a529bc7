"""One record, read without a registry: only that of a living instance counts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from brummer.discovery.owners import living_record
from tests.unit.discovery_support import Owner, directory_in_memory, put, record_of_this_process


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield path


def test_the_record_of_a_living_instance_is_found_until_it_dies_and_is_removed_then(directory: Path) -> None:
    owner = Owner(directory, Path("/projects/shop"))
    instance_id = owner.record.instance_id
    assert living_record(directory, instance_id) is None
    record = owner.publish()
    assert living_record(directory, instance_id) == record
    owner.kill()
    assert living_record(directory, instance_id) is None
    assert not owner.path.exists()


def test_a_record_from_before_the_last_boot_is_of_no_living_instance(directory: Path) -> None:
    record = record_of_this_process(boot_id="an-earlier-one")
    put(directory, record)
    assert living_record(directory, record.instance_id) is None


def test_a_file_that_is_no_record_is_left_alone(directory: Path) -> None:
    record = record_of_this_process()
    path = put(directory, record)
    path.write_text("{")
    assert living_record(directory, record.instance_id) is None
    assert path.exists()
