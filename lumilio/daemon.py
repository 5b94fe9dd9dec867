"""The composition root: builds everything, runs it, stops it. Resources outlive loops, loops outlive services."""

import asyncio
import fcntl
import json
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import util
from pathlib import Path

import sdnotify
from aiohttp import web

from lumilio import first_start
from lumilio.api.app import build_app
from lumilio.api.context import Context
from lumilio.api.throttle import LoginThrottle
from lumilio.catalog.users import User
from lumilio.config import Config
from lumilio.db import Database, DatabaseAddress, open_database
from lumilio.errors import ConfigError, DatabaseUnavailable
from lumilio.jobs import job_kinds, periodic_jobs, queue_slots, show_given_up, sweep_staging
from lumilio.jobs.library import Library
from lumilio.jobs.render_asset import Renderer
from lumilio.log import get_log
from lumilio.migrate import migrate
from lumilio.model import DAEMON_FILE
from lumilio.queue import store
from lumilio.queue.kinds import QueueSettings
from lumilio.queue.worker import Worker
from lumilio.tools.decoders import DecoderLimits, DecoderPool
from lumilio.tools.exiftool import ExifTool
from lumilio.tools.passwords import Passwords
from lumilio.tools.postgres import RunningCluster, run_cluster
from lumilio.tools.threads import DaemonThreads
from lumilio.tools.tokens import Caller, TokenSigner

TEMPORARY_PREFIX = "lumilio-"
MIB = 1 << 20
MOST_FILES = 65536
DEFAULT_THREADS = 32
LOCAL_TOKEN_LIFETIME = timedelta(hours=1)
ATTACH_INTERVAL = timedelta(seconds=5)
"""How soon a disk that was plugged in is used: one small query and one failed open each time."""

log = get_log()


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a person wants to know once the daemon is ready; ``password_file`` is None when there is none."""

    url: str
    data_directory: Path
    repository_root: Path
    password_file: Path | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the services run on."""

    config: Config
    library: Library
    worker: Worker
    context: Context
    admin: User
    started_at: datetime


@contextmanager
def only_daemon(directory: Path) -> Iterator[None]:
    """Hold the data directory for this process. Raises ConfigError when another daemon has it."""
    descriptor = os.open(directory / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ConfigError(
                f"another Lumilio runs on {str(directory)!r}; stop it first, or choose another data.directory"
            ) from exc
        yield
    finally:
        os.close(descriptor)


@contextmanager
def own_temporary_directory(directory: Path) -> Iterator[None]:
    """Keep the temporary files of this process in one directory that ``tmp`` in the data directory links to.

    So the next start finds and clears away what a kill left. It cannot lie in the data directory itself: paths of
    sockets, which the decoders' fork server makes there, end at 107 bytes.
    """
    link, before = directory / "tmp", tempfile.tempdir
    _remove_temporary_directory(link)
    tempfile.tempdir = tempfile.mkdtemp(prefix=TEMPORARY_PREFIX)
    link.symlink_to(tempfile.tempdir)
    # multiprocessing removes its part when the process ends, with priority -100
    util.Finalize(None, _remove_temporary_directory, args=(link,), exitpriority=-101)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _remove_temporary_directory(link: Path) -> None:
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
        if settings.url:
            password = None
            if settings.password_file:
                password = await asyncio.to_thread(_read_secret, Path(settings.password_file))
            address = DatabaseAddress(url=settings.url, password=password)
        else:
            cluster = await stack.enter_async_context(
                run_cluster(
                    config.data_directory / "postgres",
                    start_timeout=settings.start_timeout_seconds,
                    shared_buffers_mb=settings.shared_buffers_mb,
                )
            )
            at = cluster.address
            address = DatabaseAddress(host=at.host, user=at.user, database=at.database)
        db = await stack.enter_async_context(
            open_database(address, pool_size=settings.pool_size, command_timeout=settings.command_timeout_seconds)
        )
        yield db, cluster


def _read_secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ConfigError(f"database.password_file {str(path)!r} cannot be read: {exc.strerror}") from exc


async def run(config: Config, announce: Callable[[Started], None]) -> None:
    """Run until SIGTERM or SIGINT; a second one cuts short. Raises LumilioError when it cannot start."""
    began = time.monotonic()
    stopping = asyncio.Event()
    # Of threads that do not keep the process from ending: one may hang in a disk that has gone away.
    asyncio.get_running_loop().set_default_executor(DaemonThreads("default", DEFAULT_THREADS))
    _raise_file_limit()
    _watch_signals(stopping)
    directory = config.data_directory
    first_start.prepare_data_directory(directory)
    async with AsyncExitStack() as resources:
        resources.enter_context(only_daemon(directory))
        db, cluster = await resources.enter_async_context(open_configured_database(config))
        for migration in await migrate(db):
            log.info("migration.applied", name=migration.name)
        resources.enter_context(own_temporary_directory(directory))
        parts = await _build(config, db, resources)
        try:
            await _serve(parts, cluster, stopping, lambda url: announce(_started(parts, url, began)))
        finally:
            (directory / DAEMON_FILE).unlink(missing_ok=True)


async def _build(config: Config, db: Database, resources: AsyncExitStack) -> Parts:
    directory = config.data_directory
    passwords = Passwords()
    admin = await first_start.ensure_admin(db, directory, passwords)
    repositories = await first_start.open_repositories(db, admin, config.repository_root)
    processors = len(os.sched_getaffinity(0))
    settings = config.decoders
    exiftool = await resources.enter_async_context(ExifTool(timeout=settings.exiftool_timeout_seconds))
    decoders = await resources.enter_async_context(
        DecoderPool(
            size=settings.processes or processors,
            limits=DecoderLimits(memory=settings.memory_mb * MIB, tasks=settings.recycle_after),
        )
    )
    announcers: list[Callable[[str], None]] = []

    def wake_queue(queue: str) -> None:
        for announce in announcers:
            announce(queue)

    library = Library(db=db, repositories=repositories, wake_queue=wake_queue)
    worker = Worker(
        db=db,
        kinds=job_kinds(library, exiftool, Renderer(decoders=decoders, timeout=settings.timeout_seconds)),
        settings=_queue_settings(config, processors),
        on_given_up=show_given_up,
        periodic=periodic_jobs(config, library),
    )
    announcers.append(worker.announce)
    context = Context(
        config=config,
        library=library,
        signer=TokenSigner(first_start.token_key(directory)),
        passwords=passwords,
        throttle=LoginThrottle(config.auth.login_attempts_per_minute, time.monotonic),
        worker=worker,
    )
    return Parts(
        config=config, library=library, worker=worker, context=context, admin=admin, started_at=datetime.now(UTC)
    )


def _queue_settings(config: Config, processors: int) -> QueueSettings:
    queue = config.queue
    return QueueSettings(
        slots=queue_slots(config, processors),
        poll=queue.poll_seconds,
        heartbeat=queue.heartbeat_seconds,
        rescue_after=queue.rescue_after_seconds,
        memory_mb=queue.memory_mb,
        keep_completed=queue.keep_completed_hours * 3600.0,
        keep_failed=queue.keep_failed_days * 86400.0,
    )


async def _serve(
    parts: Parts, cluster: RunningCluster | None, stopping: asyncio.Event, ready: Callable[[str], None]
) -> None:
    notifier = sdnotify.SystemdNotifier()
    loop = asyncio.get_running_loop()
    timeout = parts.config.daemon.shutdown_timeout_seconds
    async with asyncio.TaskGroup() as plumbing:
        loops = [plumbing.create_task(_watch_cluster(cluster), name="cluster watch")] if cluster else []
        try:
            async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as services:
                listening: asyncio.Future[str] = loop.create_future()
                services.create_task(parts.worker.run(stopping), name=parts.worker.name)
                services.create_task(_serve_http(parts, stopping, listening), name="http")
                services.create_task(_sweep_at_start(parts), name="sweep")
                services.create_task(_attach_returned(parts, stopping), name="attach")
                url = await listening
                services.create_task(_keep_local_access(parts, stopping, url), name="local access")
                notifier.notify("READY=1")
                log.info("daemon.ready", url=url)
                ready(url)
                await stopping.wait()
                notifier.notify("STOPPING=1")
                log.info("daemon.stopping")
                deadline.reschedule(loop.time() + timeout)
        except TimeoutError:
            log.warning("daemon.drain_deadline_passed", seconds=timeout)
        finally:
            for task in loops:
                task.cancel()
    log.info("daemon.stopped")


async def _watch_cluster(cluster: RunningCluster) -> None:
    raise await cluster.wait_exited()


async def _serve_http(parts: Parts, stopping: asyncio.Event, listening: "asyncio.Future[str]") -> None:
    settings = parts.config.server
    runner = web.AppRunner(
        build_app(parts.context),
        access_log=None,
        shutdown_timeout=parts.config.daemon.shutdown_timeout_seconds,
        keepalive_timeout=75,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, backlog=512)
        try:
            await site.start()
        except OSError as exc:
            raise ConfigError(
                f"cannot listen on {settings.host}:{settings.port}: {exc.strerror}; stop what uses that port, "
                "or choose another server.port"
            ) from exc
        port = runner.addresses[0][1]
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
        listening.set_result(f"http://{host}:{port}")
        await stopping.wait()
    finally:
        await runner.cleanup()


async def _keep_local_access(parts: Parts, stopping: asyncio.Event, url: str) -> None:
    """``daemon.json``: address and a token for whoever may read this user's files, renewed before it expires."""
    caller = Caller(user_id=parts.admin.id, role=parts.admin.role)
    path = parts.config.data_directory / DAEMON_FILE
    issued = datetime.min.replace(tzinfo=UTC)
    while not stopping.is_set():
        # By the wall clock, in short steps: the monotonic one stands still while the machine sleeps.
        if abs(datetime.now(UTC) - issued) > LOCAL_TOKEN_LIFETIME / 2:
            issued = datetime.now(UTC)
            token = parts.context.signer.issue(caller, LOCAL_TOKEN_LIFETIME)
            document = json.dumps({"url": url, "token": token, "pid": os.getpid()})
            await asyncio.to_thread(first_start.write_private, path, document.encode())
        await _pause(stopping, timedelta(seconds=30))


async def _sweep_at_start(parts: Parts) -> None:
    """Enqueue sweeps of all that an earlier daemon left; later ones are periodic and look at what is old."""
    try:
        async with parts.library.db.transaction() as tx:
            await store.enqueue_many(tx, sweep_staging.specs(parts.library, older_than=parts.started_at))
    except DatabaseUnavailable as exc:
        log.warning("sweep.postponed", reason=exc)
    parts.library.wake_queue(sweep_staging.QUEUE)


async def _attach_returned(parts: Parts, stopping: asyncio.Event) -> None:
    """Look for repositories that were away at the start; those that go away later stay attached, as offline."""
    while not stopping.is_set():
        await _pause(stopping, ATTACH_INTERVAL)
        try:
            await first_start.attach_returned(parts.library.db, parts.library.repositories)
        except DatabaseUnavailable as exc:
            log.warning("repository.attaching_postponed", reason=exc)


async def _pause(stopping: asyncio.Event, length: timedelta) -> None:
    try:
        async with asyncio.timeout(length.total_seconds()):
            await stopping.wait()
    except TimeoutError:
        return


def _started(parts: Parts, url: str, began: float) -> Started:
    password = parts.config.data_directory / first_start.PASSWORD_FILE
    return Started(
        url=url,
        data_directory=parts.config.data_directory,
        repository_root=parts.config.repository_root,
        password_file=password if password.exists() else None,
        seconds=time.monotonic() - began,
    )


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
