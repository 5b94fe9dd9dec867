"""The composition root: builds everything, runs it, stops it. Resources outlive loops, loops outlive services."""

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sdnotify
from aiohttp import web

from lumilio import first_start
from lumilio.api.app import build_app
from lumilio.api.context import Context
from lumilio.api.throttle import LoginThrottle
from lumilio.assembly import (
    attach_returned,
    build_worker,
    open_configured_database,
    own_temporary_directory,
    pause,
    prepare_process,
    processors,
)
from lumilio.catalog.users import User
from lumilio.config import Config
from lumilio.db import Database
from lumilio.errors import ConfigError, DatabaseUnavailable
from lumilio.jobs import queue_slots, retry_problems, sweep_staging
from lumilio.jobs.library import Library
from lumilio.log import get_log
from lumilio.migrate import migrate
from lumilio.model import DAEMON_FILE
from lumilio.queue import store
from lumilio.queue.worker import Worker
from lumilio.tools.passwords import Passwords
from lumilio.tools.postgres import RunningCluster
from lumilio.tools.tokens import Caller, TokenSigner

LOCAL_TOKEN_LIFETIME = timedelta(hours=1)

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


async def run(config: Config, announce: Callable[[Started], None]) -> None:
    """Run until SIGTERM or SIGINT; a second one cuts short. Raises LumilioError when it cannot start."""
    began = time.monotonic()
    stopping = asyncio.Event()
    prepare_process(stopping)
    directory = config.data_directory
    first_start.prepare_data_directory(directory)
    async with AsyncExitStack() as resources:
        resources.enter_context(only_daemon(directory))
        db, cluster = await resources.enter_async_context(open_configured_database(config))
        for migration in await migrate(db):
            log.info("migration.applied", name=migration.name)
        resources.enter_context(own_temporary_directory(directory / "tmp"))
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
    slots = queue_slots(config, processors())
    working = await build_worker(config, db, repositories, resources, slots=slots, queues=slots)
    context = Context(
        config=config,
        library=working.library,
        signer=TokenSigner(first_start.token_key(directory)),
        passwords=passwords,
        throttle=LoginThrottle(config.auth.login_attempts_per_minute, time.monotonic),
        worker=working.worker,
        exiftool=working.exiftool,
    )
    return Parts(
        config=config,
        library=working.library,
        worker=working.worker,
        context=context,
        admin=admin,
        started_at=datetime.now(UTC),
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
                services.create_task(_enqueue_at_start(parts), name="first jobs")
                services.create_task(attach_returned(parts.library, stopping), name="attach")
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
        await pause(stopping, timedelta(seconds=30))


async def _enqueue_at_start(parts: Parts) -> None:
    """Enqueue sweeps of all that an earlier daemon left, later ones are periodic and look at what is old; and another
    try for what failed with tools that may have been upgraded since."""
    sweeps = sweep_staging.specs(parts.library, older_than=parts.started_at)
    try:
        async with parts.library.db.transaction() as tx:
            await store.enqueue_many(tx, [*sweeps, retry_problems.spec()])
    except DatabaseUnavailable as exc:
        log.warning("sweep.postponed", reason=exc)
    parts.library.wake_queue(sweep_staging.QUEUE)
    parts.library.wake_queue(retry_problems.QUEUE)


def _started(parts: Parts, url: str, began: float) -> Started:
    password = parts.config.data_directory / first_start.PASSWORD_FILE
    return Started(
        url=url,
        data_directory=parts.config.data_directory,
        repository_root=parts.config.repository_root,
        password_file=password if password.exists() else None,
        seconds=time.monotonic() - began,
    )
