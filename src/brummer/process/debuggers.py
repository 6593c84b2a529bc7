"""The ports of debuggers. That a debugger listens proves nothing: the program behind it may not have begun. Pure.

A debugger is known by the line that it prints, or by the arguments of its program.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

_ANNOUNCED: Final = re.compile(
    r"Debugger listening on ws://[^\s/]{1,80}:(\d{1,5})/"  # Node.js, Deno
    r"|Listening for transport dt_socket at address: (\d{1,5})"  # JVM
    r"|API server listening at: [^\s/]{1,80}:(\d{1,5})"  # Delve, of Go
)
_INSPECT: Final = re.compile(r"--inspect(?:-brk|-wait|-port)?(?:=(?:.*:)?(\d+)|=.*)?\Z")
_INSPECT_PORTS: Final = frozenset({6499, 9229})
"""The default ports of Bun's and of Node.js's."""
_JDWP: Final = re.compile(r"-(?:agentlib:|Xrun)jdwp[:=](?:.*,)?address=(?:[^,]*:)?(\d+)")
_LISTEN: Final = re.compile(r"(?:--listen=)?(?:.*:)?(\d+)\Z")
LINE_LIMIT: Final = 500
"""Characters that are looked at: the lines of debuggers are short."""


def announced_ports(lines: Iterable[str]) -> set[int]:
    """The ports that debuggers say they listen on."""
    found = (_ANNOUNCED.search(line, 0, LINE_LIMIT) for line in lines if "istening" in line[:LINE_LIMIT])
    return {int(port) for match in found if match for port in match.groups() if port}


def debugged_ports(arguments: Sequence[str]) -> set[int]:
    """The ports on which a program with these arguments lets itself be debugged."""
    ports: set[int] = set()
    for argument in arguments:
        if match := _INSPECT.match(argument):
            ports |= {int(match[1])} if match[1] else _INSPECT_PORTS
        elif match := _JDWP.match(argument):
            ports.add(int(match[1]))
    return ports | _listen_option(arguments)


def _listen_option(arguments: Sequence[str]) -> set[int]:
    """Of debugpy, and of Delve: ``--listen`` with the address in the same argument or in the next."""
    if not any(argument.endswith(("debugpy", "debugpy/__main__.py", "dlv")) for argument in arguments[:6]):
        return set()
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    addresses = (after if own == "--listen" else own for own, after in pairs if own.startswith("--listen"))
    return {int(match[1]) for address in addresses if (match := _LISTEN.match(address))}
