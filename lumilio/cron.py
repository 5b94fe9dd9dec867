"""Cron expressions: five fields, in the local time of the server. The only module that imports cronsim."""

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError


def check_cron(expression: str) -> None:
    """Raises ValueError that says what was expected."""
    try:
        next(CronSim(expression, datetime(2000, 1, 1)))  # noqa: DTZ001 local time
    except (CronSimError, StopIteration) as exc:
        raise ValueError(
            "five fields of cron: minute hour day month weekday, such as '30 3 * * *', or nothing for never"
        ) from exc


def next_run(expression: str, after: datetime) -> datetime:
    """The first moment of an expression after an aware one, in UTC.

    By the clock on the wall: a time that the change to summer time leaves out comes an hour later, one that comes twice
    counts once.
    """
    local = after.astimezone().replace(tzinfo=None)
    moment = next(CronSim(expression, local)).astimezone(UTC)
    return moment if moment > after else next_run(expression, _later(local))


def _later(local: datetime) -> datetime:
    return local.replace(fold=1).astimezone(UTC)
