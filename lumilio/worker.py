"""``lumilio worker``: the pools of the daemon without its API, on this or another machine.

It reaches the database by its URL, or the embedded cluster of a daemon on this machine through its socket, and the
repositories under the paths by which the daemon knows them.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import sdnotify

from lumilio import first_start
from lumilio.assembly import (
    attach_returned,
    build_worker,
    connect_configured_database,
    own_temporary_directory,
    prepare_process,
    processors,
    remove_temporary_directory,
)
from lumilio.config import Config
from lumilio.errors import ConfigError, DatabaseError
from lumilio.jobs import queue_slots
from lumilio.jobs.library import OwnedRepository
from lumilio.log import get_log
from lumilio.migrate import pending_migrations
from lumilio.model import RepositoryId

_TEMPORARY_LINK = "tmp-worker-"

log = get_log()


def chosen_slots(config: Config, wanted: Sequence[tuple[str, int | None]]) -> Mapping[str, int]:
    """Slots of the wanted queues (None: as many as the daemon has), of all when none is named. Raises ConfigError."""
    known = queue_slots(config, processors())
    for queue, _ in wanted:
        if queue not in known:
            raise ConfigError(f"queue {queue!r} is unknown; known: {', '.join(sorted(known))}")
    return {queue: slots or known[queue] for queue, slots in wanted} or known


async def run(config: Config, slots: Mapping[str, int]) -> None:
    """Work on these queues until SIGTERM or SIGINT; a second one cuts short. Raises LumilioError when it cannot."""
    stopping = asyncio.Event()
    prepare_process(stopping)
    directory = config.data_directory
    async with AsyncExitStack() as resources:
        db = await resources.enter_async_context(connect_configured_database(config))
        if await pending_migrations(db):
            raise DatabaseError("the database has an older schema; start this version's daemon or run: lumilio migrate")
        await asyncio.to_thread(_clear_remains, directory)
        resources.enter_context(own_temporary_directory(directory / f"{_TEMPORARY_LINK}{os.getpid()}"))
        repositories: dict[RepositoryId, OwnedRepository] = {}
        await first_start.attach_returned(db, repositories)
        everything = queue_slots(config, processors())
        working = await build_worker(config, db, repositories, resources, slots=slots, queues=everything)
        notifier = sdnotify.SystemdNotifier()
        loop = asyncio.get_running_loop()
        timeout = config.daemon.shutdown_timeout_seconds
        try:
            async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as services:
                services.create_task(working.worker.run(stopping), name=working.worker.name)
                services.create_task(attach_returned(working.library, stopping), name="attach")
                if await working.worker.registered(stopping):
                    notifier.notify("READY=1")
                    log.info("worker.ready", queue=", ".join(f"{queue} {count}" for queue, count in slots.items()))
                await stopping.wait()
                notifier.notify("STOPPING=1")
                log.info("worker.stopping")
                deadline.reschedule(loop.time() + timeout)
        except TimeoutError:
            log.warning("worker.drain_deadline_passed", seconds=timeout)
    log.info("worker.stopped")


def _clear_remains(directory: Path) -> None:
    """Make the data directory where only workers run, and remove what killed ones left in it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"data.directory {str(directory)!r} cannot be made: {exc.strerror}; choose another") from exc
    for link in directory.glob(f"{_TEMPORARY_LINK}*"):
        pid = link.name.removeprefix(_TEMPORARY_LINK)
        with suppress(FileNotFoundError):
            if not Path("/proc", pid).exists():
                remove_temporary_directory(link)
