"""The hub's name, version and instructions. Imported for the first answer, so it imports only the version."""

from typing import Final

from brummer import __version__

SERVER_INFO: Final = {"name": "brummer-hub", "version": __version__}

INSTRUCTIONS: Final = (
    "Brummer runs the dev processes of several projects; each project is an instance. Call instances_list to see them,"
    " scripts_run to make sure that a script runs (it never starts a second copy), wait_for instead of polling, and"
    " logs_search or changes_since to learn what happened. Pass `instance` (id, name or directory) when several run. A"
    " failed call tells whether it may be retried and what is known of its outcome. An answer that ends with a cursor"
    " continues when you pass the cursor back."
)
