"""What the samples come to: medians over the rounds, and the ratios that Lumilio has to reach."""

import statistics
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.queue_bench import Samples

_LEAST, _MOST = ">=", "<="


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ratio:
    """Lumilio's ``key`` in ``measured`` over that of ``other`` in ``beside`` (the same measurement when empty)."""

    measured: str
    other: str
    key: str = "jobs_per_s"
    beside: str = ""
    bound: tuple[str, float] | None = None


_RATIOS = (
    _Ratio(measured="claim_50", other="pgqueuer", bound=(_LEAST, 3)),
    _Ratio(measured="claim_50", other="pgqueuer_unbounded"),
    _Ratio(measured="claim_50", other="procrastinate", bound=(_LEAST, 25)),
    _Ratio(measured="claim_50", other="pgbench", bound=(_LEAST, 0.4)),
    _Ratio(measured="enqueue_bulk", other="pgqueuer", bound=(_LEAST, 2)),
    _Ratio(measured="idle", other="pgqueuer", key="p50_ms", bound=(_MOST, 0.6)),
    _Ratio(measured="idle", other="pgqueuer_unbounded", key="p50_ms"),
    _Ratio(measured="pressed_many_behind", other="lumilio", beside="pressed", bound=(_LEAST, 0.8)),
    _Ratio(measured="pressed_old_snapshot", other="lumilio", beside="pressed", bound=(_LEAST, 0.8)),
    _Ratio(
        measured="pressed_old_snapshot", other="lumilio", beside="pressed", key="tail_jobs_per_s", bound=(_LEAST, 0.8)
    ),
)


def summary(samples: Samples) -> dict[str, Any]:
    """The median of each number, with all rates so that their spread is seen."""
    return {name: {who: _medians(rounds) for who, rounds in by_who.items()} for name, by_who in samples.items()}


def targets(samples: Samples) -> list[dict[str, Any]]:
    """The ratio of each round, in which both were measured within seconds, and the median of these."""
    return [told for ratio in _RATIOS if (told := _told(ratio, samples))]


def _medians(rounds: list[dict[str, float]]) -> dict[str, Any]:
    told: dict[str, Any] = {key: _short(statistics.median(each[key] for each in rounds)) for key in rounds[0]}
    key = next(iter(rounds[0]))
    return told | {f"all_{key}": [_short(each[key]) for each in rounds]}


def _told(ratio: _Ratio, samples: Samples) -> dict[str, Any] | None:
    mine = samples.get(ratio.measured, {}).get("lumilio")
    theirs = samples.get(ratio.beside or ratio.measured, {}).get(ratio.other)
    if not mine or not theirs:
        return None
    ratios = [one[ratio.key] / other[ratio.key] for one, other in zip(mine, theirs, strict=True)]
    median = statistics.median(ratios)
    name = f"{ratio.measured} {ratio.key}: lumilio / {ratio.beside or ratio.other}"
    told = {"ratio": name, "median": _short(median), "all": [_short(each) for each in ratios]}
    if ratio.bound is None:
        return told
    sign, limit = ratio.bound
    return told | {"wanted": f"{sign} {limit:g}", "reached": median >= limit if sign == _LEAST else median <= limit}


def _short(value: float) -> float:
    return float(f"{value:.4g}")
