"""``python -m brummer``, and the ``brum`` command."""

import sys

INTERRUPTED = 130
"""What shells make of an end by SIGINT."""


def main() -> int:
    """Returns the exit status. A hub on stdio gives its first answer before anything heavy is loaded."""
    try:
        from brummer.cli import surroundings

        surroundings.make_usable()
        from brummer.cli import start

        return start.main(sys.argv[1:])
    except KeyboardInterrupt:  # at whatever moment, while modules are loaded too
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
