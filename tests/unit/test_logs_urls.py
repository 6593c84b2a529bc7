import pytest

from brummer.logs.urls import Url, urls_in


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("  ➜  Local:   http://localhost:5173/", Url("http://localhost:5173/", 5173, True)),
        ("Serving HTTP on 0.0.0.0 port 8000 (http://0.0.0.0:8000/) ...", Url("http://localhost:8000/", 8000, True)),
        ("listening on http://[::]:3000", Url("http://localhost:3000", 3000, True)),
        ("listening on http://[::1]:3000.", Url("http://[::1]:3000", 3000, True)),
        ("ready at https://127.0.0.1:8443/app?x=1#top, enjoy", Url("https://127.0.0.1:8443/app?x=1#top", 8443, True)),
        ("see http://app.localhost:3000!", Url("http://app.localhost:3000", 3000, True)),
        ("docs at https://example.com/a_(b).", Url("https://example.com/a_(b)", 443, False)),
        ('{"url":"http://localhost:4000/graphql"}', Url("http://localhost:4000/graphql", 4000, True)),
        ("[http://localhost:1234]", Url("http://localhost:1234", 1234, True)),
        ("Network: http://192.168.1.5:5173/", Url("http://192.168.1.5:5173/", 5173, False)),
        ("on http://localhost.", Url("http://localhost", 80, True)),
    ],
)
def test_a_url_is_found_as_it_can_be_opened(text: str, url: Url) -> None:
    assert urls_in(text) == [url]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no url",
        "ws://localhost:3000",
        "file:///etc/hosts",
        "http://",
        "http://localhost:99999/",
        "http://localhost:0",
    ],
)
def test_what_can_not_be_opened_is_none(text: str) -> None:
    assert urls_in(text) == []


def test_several_urls_come_in_their_order() -> None:
    found = urls_in("http://localhost:1/ and http://localhost:2/")
    assert [url.port for url in found] == [1, 2]


def test_a_url_with_a_million_brackets_behind_it_takes_no_time() -> None:
    assert [url.text for url in urls_in("http://localhost:1/a(b)" + ")." * 500_000)] == ["http://localhost:1/a(b)"]
