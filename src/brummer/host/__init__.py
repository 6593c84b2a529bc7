"""The operating system as small functions, one file per thing; which system is chosen once, inside each file."""
