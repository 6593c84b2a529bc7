import pytest

from brummer.instance.port_complaints import UNKNOWN, port_in_use


@pytest.mark.parametrize(
    ("line", "port"),
    [
        ("Error: listen EADDRINUSE: address already in use :::3000", 3000),
        ("Error: listen EADDRINUSE: address already in use 127.0.0.1:3000", 3000),
        ("[Errno 98] error while attempting to bind on address ('127.0.0.1', 8000): address already in use", 8000),
        ("2026/01/02 10:20:30 listen tcp :8080: bind: address already in use", 8080),
        ("listen tcp [::]:8080: bind: address already in use", 8080),
        ('Address already in use - bind(2) for "127.0.0.1" port 3000 (Errno::EADDRINUSE)', 3000),
        ("Error: Port 5173 is already in use", 5173),
        ("Web server failed to start. Port 8080 was already in use.", 8080),
        ("nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)", 80),
        ("Bind for 0.0.0.0:5432 failed: port is already allocated", 5432),
        ("[ERROR] Connection in use: ('127.0.0.1', 8000)", 8000),
        ("OSError: [Errno 98] Address already in use", UNKNOWN),
        ("Error: That port is already in use.", UNKNOWN),
        ("listening on http://localhost:3000", None),
        ("10:20:30 EADDRINUSE", UNKNOWN),
        ("EADDRINUSE :::99999", UNKNOWN),
    ],
)
def test_who_complains_of_a_port_is_understood(line: str, port: int | None) -> None:
    assert port_in_use(["before", line, "    at Server.setupListenHandle"]) == port


def test_the_last_complaint_that_names_a_port_counts() -> None:
    assert port_in_use(["EADDRINUSE :::3000", "EADDRINUSE :::3001", "Address already in use"]) == 3001
    assert port_in_use([]) is None
