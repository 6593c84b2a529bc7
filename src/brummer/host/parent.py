"""The process that started us, noted before anything else is imported: it may die while we load."""

import os

PID = os.getppid()
