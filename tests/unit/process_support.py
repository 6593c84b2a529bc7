"""What tests of processes share."""

from brummer.process.guard_main import scan


def members(group: int) -> list[int]:
    """The living processes of a process group."""
    return [pid for pid, (its_group, *_) in scan()[0].items() if its_group == group]
