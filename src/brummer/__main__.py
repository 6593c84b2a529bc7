"""``python -m brummer``, and the ``brum`` command."""

import sys


def main() -> int:
    """Returns the exit status. A hub on stdio gives its first answer before anything heavy is loaded."""
    from brummer.cli import start

    return start.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
