"""What people look at: lines, rows and words, and the views themselves. Only the command of a view imports it."""
