"""Brummer: one process manager per project, and one hub through which a coding agent drives them all."""

import os

__version__ = "0.2.0.dev0"

PARENT_PID = os.getppid()
"""Read before all other imports: the parent may die while they load (`brummer.host.parent`)."""
