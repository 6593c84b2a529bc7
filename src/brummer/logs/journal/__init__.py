"""The output of a run on disk, which outlives its instance: written, kept within limits, read back."""
