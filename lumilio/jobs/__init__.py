"""The job kinds of Lumilio: one line here, one file beside."""

from collections.abc import Mapping
from typing import Any

from lumilio.config import Config
from lumilio.db import Tx
from lumilio.jobs import process_asset, render_asset, settle_trash, sweep_staging
from lumilio.jobs.library import Library
from lumilio.jobs.process_asset import ProcessAsset
from lumilio.jobs.render_asset import RenderAsset, Renderer
from lumilio.jobs.settle_trash import SettleTrash
from lumilio.jobs.sweep_staging import SweepStaging
from lumilio.queue.kinds import JobKind
from lumilio.queue.store import Job
from lumilio.tools.exiftool import ExifTool

LONGEST_STORE = 4 * 3600.0
"""Seconds: a 50 GB file copied where there are no hard links, at 5 MB/s. Every wait inside has its own, shorter end."""


def job_kinds(library: Library, exiftool: ExifTool, renderer: Renderer) -> tuple[JobKind[Any], ...]:
    """The table: name, queue, arguments, work; ``timeout`` in seconds."""
    process = ProcessAsset(library=library, exiftool=exiftool, renderer=renderer)
    rendering = RenderAsset(library=library, renderer=renderer)
    trash = SettleTrash(library=library)
    sweep = SweepStaging(library=library)
    return (
        JobKind(name=process_asset.KIND, queue=process_asset.QUEUE, args=process_asset.Args,
                work=process.work, max_attempts=process_asset.MAX_ATTEMPTS, timeout=LONGEST_STORE),
        JobKind(name=render_asset.KIND, queue=render_asset.QUEUE, args=render_asset.Args,
                work=rendering.work, max_attempts=3, timeout=600),
        JobKind(name=settle_trash.KIND, queue=settle_trash.QUEUE, args=settle_trash.Args,
                work=trash.work, max_attempts=10, timeout=600),
        JobKind(name=sweep_staging.KIND, queue=sweep_staging.QUEUE, args=sweep_staging.Args,
                work=sweep.work, max_attempts=3, timeout=3600),
    )  # fmt: skip


def queue_slots(config: Config, processors: int) -> Mapping[str, int]:
    """How many jobs of each queue run at once. A job waits for disks, exiftool and decoders, hence more than cores."""
    chosen = config.queue.process_asset_slots or max(5, processors + 2)
    return {process_asset.QUEUE: chosen, settle_trash.QUEUE: 2}


async def show_given_up(tx: Tx, job: Job) -> None:
    """Hook of the queue: what a discarded job leaves for people to see."""
    await process_asset.show_given_up(tx, job)
