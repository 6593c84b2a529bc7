"""The terminal at which this process was started."""

import os
from collections.abc import Iterable


def is_ours(descriptors: Iterable[int]) -> bool:
    """Whether all of them are terminals, and we are in the foreground there: another process would be stopped if it
    read a key or set a mode.
    """
    try:
        return all(os.isatty(each) and os.tcgetpgrp(each) == os.getpgrp() for each in descriptors)
    except OSError:  # a terminal that is not the controlling one
        return False
