"""Brummer: one process manager per project, and one hub through which a coding agent drives them all."""

__version__ = "0.1.0"
