"""The ports that a command serves HTTP on: each demands the user's token."""

import os

from brummer.discovery.directory import http_token_file
from brummer.wire.listening import Address, Port


def user_token() -> str:
    """Blocks for disk accesses. Raises TokenUnusable."""
    from brummer.host.http_token import http_token

    return http_token(http_token_file(os.environ))


def port_of(address: Address | None) -> Port | None:
    """None where nothing is to be served."""
    return None if address is None else Port(address, user_token)
