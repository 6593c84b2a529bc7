"""``brum --settings``: every setting in force here, with its source; exit status 1 when one is invalid."""

from typing import Any

from brummer.cli.messages import print_json
from brummer.cli.table import print_table
from brummer.settings.table import TABLE, Settings

COLUMNS = ("SETTING", "VALUE", "SOURCE")


def run(settings: Settings, *, as_json: bool) -> int:
    """Returns the exit status."""
    if as_json:
        print_json(_described(settings))
    else:
        _print_table(settings)
    return 1 if settings.problems else 0


def _print_table(settings: Settings) -> None:
    rows = [COLUMNS]
    rows += [
        (setting.key, setting.kind.shown(settings.value_of(setting)), str(settings.origin_of(setting.key)))
        for setting in TABLE
    ]
    rows += [
        (key := f"servers.{server.name}", server.shown_url, str(settings.origin_of(key))) for server in settings.servers
    ]
    print_table(rows)


def _described(settings: Settings) -> dict[str, Any]:
    """Headers are left out: they hold credentials."""
    return {
        "settings": [
            {
                "key": setting.key,
                "value": value,
                "unit": setting.kind.unit or None,
                "shown": setting.kind.shown(value),
                "source": settings.origin_of(setting.key),
                "variable": setting.variable,
                "meaning": setting.meaning,
            }
            for setting in TABLE
            for value in (settings.value_of(setting),)
        ],
        "servers": [
            {"name": server.name, "url": server.shown_url, "source": settings.origin_of(f"servers.{server.name}")}
            for server in settings.servers
        ],
        "problems": [error.context | {"message": error.message} for error in settings.problems],
        "warnings": [error.context | {"message": error.message} for error in settings.warnings],
    }
