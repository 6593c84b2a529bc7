"""The interpreter as others may have set it up for programs of their own, made usable for ours.

A client passes its environment and working directory on. Before anything else is imported, what could take the place of
our modules is moved behind them, and warnings are kept from being errors.
"""

import os
import sys

STRAY_PATHS = "PYTHONPATH"


def make_usable() -> None:
    """Change `sys.path`, `sys.modules` and the filters of warnings."""
    _put_strays_last()
    if any(option.startswith("error") for option in sys.warnoptions):
        import warnings

        warnings.simplefilter("default")  # PYTHONWARNINGS=error is meant for tests of another program


def _put_strays_last() -> None:
    """PYTHONPATH and the working directory come before the standard library: a ``json.py`` there would be ours.

    They are kept at the end, for a Brummer that is installed there.
    """
    named = os.environ.get(STRAY_PATHS, "").split(os.pathsep) if STRAY_PATHS in os.environ else []
    strays = {"", *named, *map(os.path.abspath, filter(None, named))}
    try:  # noqa: SIM105 — `contextlib` may be a stray itself
        strays.add(os.getcwd())  # noqa: PTH109 — as `pathlib` may
    except OSError:
        pass  # it was removed
    found = [path for path in sys.path if path in strays]
    if not found:
        return
    sys.path[:] = [*(path for path in sys.path if path not in strays), *found]
    for name in sys.stdlib_module_names & sys.modules.keys():  # those that were loaded from there already
        file = getattr(sys.modules[name], "__file__", None)
        if file and any(path and file.startswith(path + os.sep) for path in found):
            del sys.modules[name]
