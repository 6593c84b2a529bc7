"""The ports on which a command serves HTTP: each requires the user's token."""

import os

from brummer.discovery.directory import http_token_file
from brummer.wire.http.listening import Address, Port


def user_token() -> str:
    """Blocks for disk access. Raises TokenUnusable."""
    from brummer.host.http_token import http_token

    return http_token(http_token_file(os.environ))


def port_of(address: Address | None) -> Port | None:
    """None if the command serves no port."""
    return None if address is None else Port(address, user_token)
