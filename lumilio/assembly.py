"""What the daemon and a worker without API have in common: built here, for both to run and to stop."""

import asyncio
import os
import resource
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from multiprocessing import util
from pathlib import Path

from lumilio import first_start
from lumilio.config import Config
from lumilio.db import Database, DatabaseAddress, open_database
from lumilio.errors import ConfigError, DatabaseUnavailable, ToolError
from lumilio.jobs import job_kinds, periodic_jobs, show_given_up
from lumilio.jobs.library import Library, OwnedRepository
from lumilio.jobs.make_web_version import Encoder
from lumilio.jobs.render_asset import Renderer
from lumilio.log import get_log
from lumilio.model import RepositoryId
from lumilio.queue.kinds import QueueSettings
from lumilio.queue.worker import Worker
from lumilio.tools import geography
from lumilio.tools.decoders import PRELOAD, DecoderLimits, DecoderPool
from lumilio.tools.exiftool import ExifTool
from lumilio.tools.ffmpeg_encoders import choose, fault_of
from lumilio.tools.postgres import RunningCluster, run_cluster, running_address
from lumilio.tools.threads import DaemonThreads
from lumilio.tools.versions import tool_versions

TEMPORARY_PREFIX = "lumilio-"
POSTGRES = "postgres"
"""Below the data directory."""
MIB = 1 << 20
MOST_FILES = 65536
DEFAULT_THREADS = 32
ENCODER_TRIAL_SECONDS = 60.0
CHILDREN_PRELOAD = (*PRELOAD, "lumilio.media", "lumilio.media.web_version")
"""Shared by all children: a decoder that has everything in memory has 8 MiB of its own, and starts in 16 ms."""
ATTACH_INTERVAL = timedelta(seconds=5)
"""How soon a disk that was plugged in is used: one small query and one failed open each time."""

log = get_log()


@contextmanager
def own_temporary_directory(link: Path) -> Iterator[None]:
    """Keep the temporary files of this process in one directory that ``link`` in the data directory names.

    So the next start finds and clears away what a kill left. It cannot lie in the data directory itself: paths of
    sockets, which the decoders' fork server makes there, end at 107 bytes.
    """
    before = tempfile.tempdir
    tempfile.tempdir = str(_temporary_directory(link))
    try:
        yield
    finally:
        tempfile.tempdir = before


@cache
def _temporary_directory(link: Path) -> Path:
    """Once in a process: the fork server, which outlives a restart within it, has its socket there."""
    remove_temporary_directory(link)
    path = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
    link.symlink_to(path)
    # multiprocessing removes its part when the process ends, with priority -100
    util.Finalize(None, remove_temporary_directory, args=(link,), exitpriority=-101)
    return path


def remove_temporary_directory(link: Path) -> None:
    """Remove what a link left by ``own_temporary_directory`` names, and the link; others are left alone."""
    if link.is_symlink():
        old = link.readlink()
        if old.name.startswith(TEMPORARY_PREFIX) and old.is_dir() and old.stat().st_uid == os.geteuid():
            shutil.rmtree(old, ignore_errors=True)
        link.unlink(missing_ok=True)


@asynccontextmanager
async def open_configured_database(config: Config) -> AsyncIterator[tuple[Database, RunningCluster | None]]:
    """The server of ``database.url``, else the embedded cluster, started here. Raises DatabaseError."""
    settings = config.database
    async with AsyncExitStack() as stack:
        cluster = None
        if not settings.url:
            cluster = await stack.enter_async_context(
                run_cluster(
                    config.data_directory / POSTGRES,
                    start_timeout=settings.start_timeout_seconds,
                    shared_buffers_mb=settings.shared_buffers_mb,
                )
            )
        yield await stack.enter_async_context(connect_configured_database(config)), cluster


@asynccontextmanager
async def connect_configured_database(config: Config) -> AsyncIterator[Database]:
    """The server of ``database.url``, else the embedded cluster that a daemon of this machine runs.

    Raises DatabaseUnavailable when that does not run.
    """
    settings = config.database
    if settings.url:
        password = None
        if settings.password_file:
            password = await asyncio.to_thread(_read_secret, Path(settings.password_file))
        address = DatabaseAddress(url=settings.url, password=password)
    else:
        at = await asyncio.to_thread(running_address, config.data_directory / POSTGRES)
        address = DatabaseAddress(host=at.host, user=at.user, database=at.database)
    async with open_database(
        address, pool_size=settings.pool_size, command_timeout=settings.command_timeout_seconds
    ) as db:
        yield db


def _read_secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ConfigError(f"database.password_file {str(path)!r} cannot be read: {exc.strerror}") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingParts:
    """A library, and the worker that runs its jobs."""

    library: Library
    worker: Worker
    exiftool: ExifTool


async def build_worker(
    config: Config,
    db: Database,
    repositories: dict[RepositoryId, OwnedRepository],
    resources: AsyncExitStack,
    *,
    slots: Mapping[str, int],
    queues: Collection[str],
) -> WorkingParts:
    """Start exiftool and the decoders, and build a worker on them: ``slots`` of some of all ``queues``."""
    settings = config.decoders
    exiftool = await resources.enter_async_context(
        ExifTool(timeout=settings.exiftool_timeout_seconds, processes=settings.exiftool_processes)
    )
    decoders = await resources.enter_async_context(
        DecoderPool(
            size=settings.processes or processors(),
            limits=DecoderLimits(
                memory=settings.memory_mb * MIB,
                tasks=settings.recycle_after,
                growth=min(256, settings.memory_mb // 3) * MIB,
            ),
            preload=CHILDREN_PRELOAD,
        )
    )
    encoder = await _encoder(config, resources)
    announcers: list[Callable[[str], None]] = []

    def wake_queue(queue: str) -> None:
        for announce in announcers:
            announce(queue)

    versions, _ = await asyncio.gather(tool_versions(), asyncio.to_thread(geography.warm))
    library = Library(db=db, repositories=repositories, wake_queue=wake_queue, tool_versions=dict(versions))
    worker = Worker(
        db=db,
        kinds=job_kinds(library, exiftool, Renderer(decoders=decoders, timeout=settings.timeout_seconds), encoder),
        settings=_queue_settings(config, slots),
        queues=queues,
        on_given_up=show_given_up,
        periodic=periodic_jobs(config, library),
    )
    announcers.append(worker.announce)
    return WorkingParts(library=library, worker=worker, exiftool=exiftool)


async def _encoder(config: Config, resources: AsyncExitStack) -> Encoder:
    """Children that encode, one file each, with the encoder that was chosen if it works."""
    settings = config.video
    limits = DecoderLimits(
        memory=settings.memory_mb * MIB, tasks=1, file_bytes=None, devices=settings.encoder != "software"
    )
    children = await resources.enter_async_context(
        DecoderPool(size=settings.jobs + 1, limits=limits, preload=CHILDREN_PRELOAD)
    )
    return Encoder(
        children=children,
        encoder=await _working_encoder(children, settings.encoder),
        threads=settings.threads or max(1, processors() - 1),
        reserve_bytes=config.ingest.reserve_mb * MIB,
    )


async def _working_encoder(children: DecoderPool, wanted: str) -> str:
    """Each candidate is tried in a child of its own, which its driver may take with it."""

    async def fault(encoder: str) -> str | None:
        try:
            return await children.run(fault_of, encoder, timeout=ENCODER_TRIAL_SECONDS)
        except ToolError as exc:
            return str(exc)

    chosen = await choose(wanted, fault)
    log.info("encoder.chosen", encoder=chosen.encoder, reason=chosen.reason)
    return chosen.encoder


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def _queue_settings(config: Config, slots: Mapping[str, int]) -> QueueSettings:
    queue = config.queue
    return QueueSettings(
        slots=slots,
        poll=queue.poll_seconds,
        heartbeat=queue.heartbeat_seconds,
        rescue_after=queue.rescue_after_seconds,
        memory_mb=queue.memory_mb,
        keep_completed=queue.keep_completed_hours * 3600.0,
        keep_failed=queue.keep_failed_days * 86400.0,
    )


async def attach_returned(library: Library, stopping: asyncio.Event) -> None:
    """Look for repositories that were away at the start; those that go away later stay attached, as offline."""
    while not stopping.is_set():
        await pause(stopping, ATTACH_INTERVAL)
        try:
            await first_start.attach_returned(library.db, library.repositories)
        except DatabaseUnavailable as exc:
            log.warning("repository.attaching_postponed", reason=exc)


async def pause(stopping: asyncio.Event, length: timedelta) -> None:
    """Sleep, but not longer than until ``stopping``."""
    try:
        async with asyncio.timeout(length.total_seconds()):
            await stopping.wait()
    except TimeoutError:
        return


def prepare_process(stopping: asyncio.Event) -> None:
    """What a long-lived process sets once: threads, signals, how many files it may open."""
    # Of threads that do not keep the process from ending: one may hang in a disk that has gone away.
    asyncio.get_running_loop().set_default_executor(DaemonThreads("default", DEFAULT_THREADS))
    _raise_file_limit()
    _watch_signals(stopping)


def _raise_file_limit() -> None:
    """A client costs a file descriptor, and the usual soft limit of 1024 is for programs that call select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _watch_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()

    def stop() -> None:
        if stopping.is_set() and main is not None:
            log.warning("daemon.cut_short")
            main.cancel()
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
