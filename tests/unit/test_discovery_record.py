"""A versioned codec that believes nothing."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brummer.discovery.record import (
    Malformed,
    Newer,
    Record,
    RecordInvalid,
    Via,
    decode,
    displayable,
    encode,
    file_name,
    instance_id_for,
)
from tests.unit.discovery_support import record_of_this_process

RECORD = record_of_this_process()
NAME = file_name(RECORD.instance_id)


def with_fields(**changes: Any) -> bytes:
    fields = {**json.loads(encode(RECORD)), **changes}
    return json.dumps({key: value for key, value in fields.items() if value is not None}).encode()


def test_a_record_survives_the_journey() -> None:
    assert decode(encode(RECORD), NAME) == RECORD


def test_keys_that_we_do_not_know_are_kept_out_of_the_way() -> None:
    assert decode(with_fields(colour="green", more={"a": [1]}), NAME) == RECORD


def test_a_later_version_is_not_malformed_whatever_else_it_holds() -> None:
    assert decode(b'{"version": 2, "pid": "a string by then"}', NAME) == Newer(NAME, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": None},
        {"version": 0},
        {"version": "1"},
        {"version": True},
        {"instance_id": "../../etc/passwd"},
        {"instance_id": "Front-00000000"},
        {"instance_id": "frontend-00000000\n"},
        {"generation": ""},
        {"name": ""},
        {"name": "a\x1b[31mred"},
        {"name": "two\nlines"},
        {"name": "\u202egnp.exe"},
        {"name": "x" * 201},
        {"directory": "relative/path"},
        {"directory": "/tmp/\x00"},
        {"url": "http://example.com:80/mcp"},
        {"url": "http://127.0.0.1.example.com:80/mcp"},
        {"url": "http://127.0.0.1:80@example.com/"},
        {"url": "http://localhost:80/"},
        {"url": "https://127.0.0.1:80/"},
        {"url": "http://127.0.0.1:65536/"},
        {"url": "http://127.0.0.1:0/"},
        {"url": "http://127.0.0.1/"},
        {"url": "http://127.0.0.1:80/\r\nHost: x"},
        {"url": "http://[::2]:80/"},
        {"pid": 0},
        {"pid": -1},
        {"pid": 1 << 70},
        {"pid": "1"},
        {"start_token": -1},
        {"start_token": 1.5},
        {"boot_id": "../x"},
        {"started_at": "yesterday"},
        {"started_at": "2026-01-01T00:00:00+02:00"},
        {"token": "short"},
        {"token": "x" * 31 + " y"},
        {"token": None},
        {"protocols": "2025-11-25"},
        {"protocols": ["x"] * 17},
        {"via": {"host": "box", "carrier": "ssh"}},
        {"via": {}},
    ],
)
def test_a_field_that_nobody_could_mean_makes_it_malformed(changes: dict[str, Any]) -> None:
    assert isinstance(decode(with_fields(**changes), NAME), Malformed)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"version": 1}', b"[" * 1_000_000, b'{"a":' * 200_000, b"1e999999"],
)
def test_what_is_no_record_is_malformed(data: bytes) -> None:
    assert isinstance(decode(data, NAME), Malformed)


@pytest.mark.promise("a-hostile-directory")
@given(st.binary(max_size=300))
def test_no_bytes_whatever_raise(data: bytes) -> None:
    assert isinstance(decode(data, NAME), Malformed | Newer)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(Record.__struct_fields__),
        st.none() | st.text() | st.integers() | st.floats() | st.lists(st.text()) | st.booleans(),
    )
)
def test_no_field_whatever_raises(changes: dict[str, Any]) -> None:
    found = decode(with_fields(**changes), NAME)
    assert isinstance(found, Record | Malformed | Newer)
    if isinstance(found, Record):
        assert found.port in range(1, 65536)
        assert encode(found)


def test_a_file_must_bear_the_name_of_its_instance() -> None:
    assert isinstance(decode(encode(RECORD), "another-00000000.json"), Malformed)


def test_both_loopbacks_are_distinguished() -> None:
    for url, host, port in (("http://127.0.0.1:1/", "127.0.0.1", 1), ("http://[::1]:65535/mcp", "::1", 65535)):
        found = decode(with_fields(url=url), NAME)
        assert isinstance(found, Record)
        assert (found.host, found.port) == (host, port)


def test_neither_repr_nor_a_refusal_shows_the_token() -> None:
    assert RECORD.token not in repr(RECORD)
    assert RECORD.token not in f"{[RECORD]}"
    refused = decode(with_fields(token=RECORD.token + "?"), NAME)
    assert RECORD.token not in repr(refused)


@pytest.mark.parametrize("changes", [{"name": "a\nb"}, {"url": "http://x/"}, {"directory": "/\udcff"}, {"version": 2}])
def test_what_every_hub_would_refuse_is_not_published(changes: dict[str, Any]) -> None:
    with pytest.raises(RecordInvalid):
        encode(msgspec.structs.replace(RECORD, **changes))


def test_an_instance_of_another_machine_is_known_by_its_id_and_its_host() -> None:
    remote = msgspec.structs.replace(RECORD, via=Via("box.example", "ssh"))
    assert (RECORD.host_name, RECORD.key) == ("", RECORD.instance_id)
    assert (remote.host_name, remote.key) == ("box.example", f"{RECORD.instance_id}@box.example")
    assert remote.key in repr(remote)


def test_a_record_with_another_machine_is_not_published() -> None:
    with pytest.raises(RecordInvalid):
        encode(msgspec.structs.replace(RECORD, via=Via("box", "ssh")))


@pytest.mark.parametrize("name", ["", "-box", ".box", "Box", "a@b", "a/b", "box\n", "x" * 64])
def test_the_name_of_a_machine_has_no_sign_that_means_something_elsewhere(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"host": name, "carrier": "ssh"}, Via)


@given(st.text(st.characters(), min_size=1, max_size=100))
def test_any_name_can_be_made_fit_to_be_shown(name: str) -> None:
    assert encode(msgspec.structs.replace(RECORD, name=displayable(name), directory="/" + displayable(name)))


def test_the_id_of_a_project_is_lasting_and_does_not_depend_on_how_one_got_there(tmp_path: Path) -> None:
    project = tmp_path / "Café Front_End!"
    project.mkdir()
    (tmp_path / "link").symlink_to(project)
    found = instance_id_for(project)
    assert found == instance_id_for(tmp_path / "link") == instance_id_for(project / "." / ".." / project.name)
    assert found.startswith("cafe-front-end-")
    assert found != instance_id_for(project, "second")
    assert instance_id_for(project, "second").startswith("second-")


@given(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=80))
def test_any_directory_has_a_valid_id(name: str) -> None:
    instance_id = instance_id_for(Path("/projects") / name)
    found = decode(with_fields(instance_id=instance_id), file_name(instance_id))
    assert isinstance(found, Record)


def test_the_root_directory_has_an_id_too() -> None:
    assert instance_id_for(Path("/")).startswith("project-")
