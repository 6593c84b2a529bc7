"""What everything else stands on: errors, settings, the event loop. Imports nothing of ours."""
