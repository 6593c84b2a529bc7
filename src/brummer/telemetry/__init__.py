"""What is counted and logged: metrics and their text form, the event log, traces."""
