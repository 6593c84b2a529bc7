"""One child process: its process group, its output pipes, its readiness, and the guard that outlives us."""
