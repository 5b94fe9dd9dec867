"""Cron expressions: five fields, in the local time of the server. The only module that imports cronsim."""

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

_FIELDS = 5
"""The library takes seconds as well."""


def check_cron(expression: str) -> None:
    """Raises ValueError that says what was expected."""
    expected = "five fields of cron: minute hour day month weekday, such as '30 3 * * *', or nothing for never"
    if len(expression.split()) != _FIELDS:
        raise ValueError(expected)
    try:
        next(CronSim(expression, datetime(2000, 1, 1)))  # noqa: DTZ001 local time
    except CronSimError as exc:
        raise ValueError(f"{expected} ({exc})") from exc
    except StopIteration as exc:
        raise ValueError(f"{expected} (this moment never comes)") from exc


def next_run(expression: str, after: datetime) -> datetime:
    """The first moment of an expression after an aware one, in UTC, by the clock on the wall.

    A time that the change to summer time leaves out comes an hour later.
    """
    for local in CronSim(expression, after.astimezone().replace(tzinfo=None)):
        for moment in _moments(local):
            if moment > after:
                return moment
    raise ValueError(f"{expression!r} never comes")


def _moments(local: datetime) -> list[datetime]:
    """When the clock shows this: once, twice in the hour that comes again; what it leaves out, after the gap."""
    earlier, later = sorted(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    return [earlier, later] if earlier.astimezone().replace(tzinfo=None) == local else [later]
