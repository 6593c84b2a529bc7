"""The HTTP status codes that we speak of by name, and what each that we send is called (RFC 9110 §15).

`http.HTTPStatus` has them all; but the first answer would wait 2 ms for that enumeration.
"""

from typing import Final

SWITCHING: Final = 101
OK: Final = 200
NO_CONTENT: Final = 204
CONFLICT: Final = 409
TOO_LARGE: Final = 413
UPGRADE_REQUIRED: Final = 426
UNAVAILABLE: Final = 503

REDIRECTIONS: Final = range(300, 400)

REFUSALS: Final = range(400, 500)
"""What is refused with one of these was not begun."""

REASONS: Final = {
    SWITCHING: b"Switching Protocols",
    OK: b"OK",
    202: b"Accepted",
    NO_CONTENT: b"No Content",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    408: b"Request Timeout",
    CONFLICT: b"Conflict",
    TOO_LARGE: b"Content Too Large",
    415: b"Unsupported Media Type",
    UPGRADE_REQUIRED: b"Upgrade Required",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    UNAVAILABLE: b"Service Unavailable",
}
"""A status that is missing here goes out without its name, as HTTP allows."""
