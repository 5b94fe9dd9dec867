"""The job kinds of Lumilio: one line here, one file beside."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from lumilio import __version__
from lumilio.config import Config
from lumilio.db import Tx
from lumilio.jobs import (
    change_times,
    make_web_version,
    process_asset,
    render_asset,
    retry_problems,
    settle_trash,
    sweep_staging,
)
from lumilio.jobs.change_times import ChangeTimes
from lumilio.jobs.library import Library
from lumilio.jobs.make_web_version import Encoder, MakeWebVersion
from lumilio.jobs.process_asset import ProcessAsset
from lumilio.jobs.render_asset import RenderAsset, Renderer
from lumilio.jobs.retry_problems import RetryProblems
from lumilio.jobs.settle_trash import SettleTrash
from lumilio.jobs.sweep_staging import SweepStaging
from lumilio.media import PROCESSORS
from lumilio.queue.kinds import JobKind
from lumilio.queue.periodic import PeriodicJob
from lumilio.queue.store import Job, JobSpec
from lumilio.tools.exiftool import ExifTool

LONGEST_STORE = 4 * 3600.0
"""Seconds: a 50 GB file copied where there are no hard links, at 5 MB/s. Every wait inside has its own, shorter end."""

PHOTO_MEMORY_MB = 80
"""A decoder child on photos of 8 to 26 MP (57 MiB, docs/benchmarks.md) and its share of the daemon. What takes more is
bounded otherwise: there are few decoders, and each has its own limit."""


WEB_VERSION_MEMORY_MB = 512
"""An encoder child on a 4K film, docs/benchmarks.md."""


def job_kinds(library: Library, exiftool: ExifTool, renderer: Renderer, encoder: Encoder) -> tuple[JobKind[Any], ...]:
    """The table: name, queue, arguments, work; ``timeout`` in seconds."""
    process = ProcessAsset(library=library, exiftool=exiftool, renderer=renderer)
    rendering = RenderAsset(library=library, exiftool=exiftool, renderer=renderer)
    web_versions = MakeWebVersion(library=library, encoder=encoder)
    times = ChangeTimes(library=library)
    retries = RetryProblems(library=library, versions=partial(_versions, library, exiftool), formats=PROCESSORS.keys())
    trash = SettleTrash(library=library)
    sweep = SweepStaging(library=library)
    return (
        JobKind(name=process_asset.KIND, queue=process_asset.QUEUE, args=process_asset.Args,
                work=process.work, max_attempts=process_asset.MAX_ATTEMPTS, timeout=LONGEST_STORE,
                memory_mb=PHOTO_MEMORY_MB),
        JobKind(name=render_asset.KIND, queue=render_asset.QUEUE, args=render_asset.Args,
                work=rendering.work, max_attempts=3, timeout=600, memory_mb=PHOTO_MEMORY_MB),
        JobKind(name=make_web_version.KIND, queue=make_web_version.QUEUE, args=make_web_version.Args,
                work=web_versions.work, max_attempts=make_web_version.MAX_ATTEMPTS,
                timeout=make_web_version.LONGEST + 600, memory_mb=WEB_VERSION_MEMORY_MB),
        JobKind(name=change_times.KIND, queue=change_times.QUEUE, args=change_times.Args,
                work=times.work, max_attempts=change_times.MAX_ATTEMPTS, timeout=change_times.LONGEST),
        JobKind(name=retry_problems.KIND, queue=retry_problems.QUEUE, args=retry_problems.Args,
                work=retries.work, max_attempts=10, timeout=3600),
        JobKind(name=settle_trash.KIND, queue=settle_trash.QUEUE, args=settle_trash.Args,
                work=trash.work, max_attempts=10, timeout=600),
        JobKind(name=sweep_staging.KIND, queue=sweep_staging.QUEUE, args=sweep_staging.Args,
                work=sweep.work, max_attempts=3, timeout=3600),
    )  # fmt: skip


async def _versions(library: Library, exiftool: ExifTool) -> Mapping[str, str]:
    """Those of now. An exiftool that was upgraded under us is started anew: the running ones are the old version."""
    before = library.tool_versions.get("exiftool")
    found = await library.look_at_tools()
    if found.get("exiftool") != before:
        exiftool.renew()
    return {**found, "lumilio": __version__}


def queue_slots(config: Config, processors: int) -> Mapping[str, int]:
    """How many jobs of each queue run at once. A job waits for disks, exiftool and decoders, hence more than cores."""
    chosen = config.queue.process_asset_slots or max(5, processors + 2)
    return {
        process_asset.QUEUE: chosen,
        settle_trash.QUEUE: 2,
        change_times.QUEUE: 1,
        make_web_version.QUEUE: config.video.jobs,
        make_web_version.NOW_QUEUE: 1,
    }


def periodic_jobs(config: Config, library: Library) -> tuple[PeriodicJob, ...]:
    """What the clock enqueues, in whichever process leads; the names are the keys of ``[schedule]``."""
    orphans = timedelta(hours=config.ingest.orphan_hours)
    specs: Mapping[str, Callable[[], Sequence[JobSpec]]] = {
        "sweep_staging": lambda: sweep_staging.specs(library, older_than=datetime.now(UTC) - orphans),
        "retry_problems": lambda: [retry_problems.spec()],
    }
    return tuple(
        PeriodicJob(name=name, expression=expression, specs=specs[name])
        for name, expression in config.schedule.model_dump().items()
        if expression
    )


async def show_given_up(tx: Tx, job: Job) -> None:
    """Hook of the queue: what a discarded or cancelled job leaves for people to see."""
    if job.kind == process_asset.KIND:
        await process_asset.show_given_up(tx, job)
    elif job.kind == render_asset.KIND:
        await render_asset.show_given_up(tx, job)
    elif job.kind == make_web_version.KIND:
        await make_web_version.show_given_up(tx, job)
