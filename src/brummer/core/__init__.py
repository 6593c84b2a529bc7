"""What every package uses: errors, events, metrics, the log, the clock, the supervisor. Imports nothing of ours."""
