"""Repairs an interpreter whose environment was made for another program.

A client passes its environment and working directory on. Before all other imports, this moves directories that could
replace modules of Brummer to the end of the path, and makes sure that warnings do not become errors.
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
    """PYTHONPATH and the working directory come before the standard library: we would import a ``json.py`` from there.

    They stay at the end, for a Brummer that is installed there.
    """
    named = os.environ.get(STRAY_PATHS, "").split(os.pathsep) if STRAY_PATHS in os.environ else []
    strays = {"", *named, *map(os.path.abspath, filter(None, named))}
    try:  # noqa: SIM105 — `contextlib` may come from there itself
        strays.add(os.getcwd())  # noqa: PTH109 — so may `pathlib`
    except OSError:
        pass  # it was removed
    found = [path for path in sys.path if path in strays]
    if not found:
        return
    sys.path[:] = [*(path for path in sys.path if path not in strays), *found]
    places = tuple(path + os.sep for path in found if path)
    library = os.path.dirname(os.__file__) + os.sep  # it may be below the working directory  # noqa: PTH120
    for name in sys.stdlib_module_names & sys.modules.keys():  # modules that were loaded from there already
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(places) and not file.startswith(library):
            del sys.modules[name]
