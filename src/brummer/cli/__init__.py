"""Arguments and printing; the only package that prints."""
