"""The terminal view. Only this package imports Textual, which costs more than all the rest of a start."""
