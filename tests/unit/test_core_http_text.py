"""Texts from files that go into the head of an HTTP request."""

from pathlib import Path

import pytest

from brummer.core.http_text import OURS, header_faults, is_sendable_url
from brummer.settings import servers
from brummer.settings.load import SettingsFile, gather
from brummer.settings.table import Settings
from brummer.settings.toml_file import SettingsInvalid
from brummer.settings.types import USER

URL = "http://127.0.0.1:9/mcp"


def of(text: str) -> Settings:
    return gather([SettingsFile(Path("/home/u/.brum.toml"), text, USER)], {})


CONTROLS = [chr(n) for n in (*range(0x09), *range(0x0A, 0x20), *range(0x7F, 0xA0))]


@pytest.mark.parametrize("character", [*CONTROLS, "\u2028", "\u2029", "\u202e", "\u200b", "\ud800"], ids=ascii)
def test_a_header_value_with_an_invisible_character_is_refused(character: str) -> None:
    for value in (f"a{character}b", character, f"x{character}"):
        assert [name for name, _ in header_faults({"authorization": value})] == ["authorization"]


@pytest.mark.parametrize("value", ["", "Bearer abc==", "a\tb", "naïve", " x "])
def test_an_ordinary_header_value_is_accepted(value: str) -> None:
    assert list(header_faults({"authorization": value})) == []


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "ä", "a\0", "(x)"])
def test_a_header_name_that_is_no_token_is_refused(name: str) -> None:
    assert [found for found, _ in header_faults({name: "x"})] == [name]


@pytest.mark.parametrize("name", [*sorted(OURS), "Content-Length", "TRANSFER-ENCODING"])
def test_a_header_that_frames_the_request_cannot_be_set(name: str) -> None:
    assert [found for found, _ in header_faults({name: "0"})] == [name]


def test_two_names_that_differ_in_case_are_one() -> None:
    assert [name for name, _ in header_faults({"X-Key": "1", "x-key": "2"})] == ["x-key"]


@pytest.mark.parametrize(
    "headers",
    [
        'authorization = "x\\r\\nx-admin: yes"',
        'authorization = "x\\nx-admin: yes"',
        'authorization = "x\\u0000"',
        '"x\\r\\ny" = "1"',
        '"Content-Length" = "0"',
        '"Transfer-Encoding" = "chunked"',
    ],
)
def test_a_server_with_such_headers_is_left_out_and_the_problem_names_its_place(headers: str) -> None:
    settings = of(f'[servers.docs]\nurl = "{URL}"\n[servers.docs.headers]\n{headers}\n[servers.b]\nurl = "{URL}"')
    (problem,) = settings.problems
    assert problem.line in (3, 4), "an escaped key has no line of its own"
    assert str(problem.context["key"]).startswith("servers.docs.headers.")
    assert "x-admin" not in problem.message, "the value may be a secret"
    assert [server.name for server in settings.servers] == ["b"]


def test_names_of_headers_are_compared_without_case_on_the_wire() -> None:
    (server,) = of(f'[servers.docs]\nurl = "{URL}"\nheaders = {{HOST = "a", Authorization = "b"}}').servers
    assert server.headers == {"host": "a", "authorization": "b"}


@pytest.mark.parametrize(
    "url", ["http://h/a b", "http://h/\r\nx: y", "http://h/\t", "http://h/\x85", "http://h\u202e/"]
)
def test_a_url_with_blanks_or_invisible_characters_is_refused(url: str) -> None:
    assert not is_sendable_url(url)
    with pytest.raises(SettingsInvalid):
        servers.from_flag(f"docs={url}")


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "a\u202eb", "x" * (servers.NAME_MAX + 1), "a\u200bb"])
def test_a_server_name_that_misleads_its_reader_is_refused(name: str) -> None:
    with pytest.raises(SettingsInvalid):
        servers.from_flag(f"{name}={URL}")
    escaped = name.encode("unicode_escape").decode().replace("\\x", "\\u00")
    settings = of(f'[servers."{escaped}"]\nurl = "{URL}"')
    assert (settings.servers, len(settings.problems)) == ((), 1)
