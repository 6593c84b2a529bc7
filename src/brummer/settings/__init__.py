"""The settings: where they come from, their types, units and limits. Pure, but for files that it is given."""
