"""Programs that tests run elsewhere: in a namespace of their own. They print one JSON object."""
