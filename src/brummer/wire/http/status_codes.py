"""The HTTP status codes that we speak of by name, and what each that we send is called (RFC 9110 §15).

`http.HTTPStatus` has them all; but the first answer would wait 2 ms for that enumeration.
"""

from typing import Final

OK: Final = 200
NO_CONTENT: Final = 204
TOO_LARGE: Final = 413
UNAVAILABLE: Final = 503

REDIRECTIONS: Final = range(300, 400)

REFUSALS: Final = range(400, 500)
"""What is refused with one of these was not begun."""

REASONS: Final = {
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
    TOO_LARGE: b"Content Too Large",
    415: b"Unsupported Media Type",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    UNAVAILABLE: b"Service Unavailable",
}
"""A status that is missing here goes out without its name, as HTTP allows."""
