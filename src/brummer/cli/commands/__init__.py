"""One module for each command: its options, and what it does. `brummer.cli.command_table` lists them."""
