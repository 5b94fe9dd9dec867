"""The embedded PostgreSQL cluster: create it, run it, notice its end, stop it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lumilio.errors import ClusterFailed, DatabaseUnavailable
from lumilio.tools.postgres_account import ClusterAccount, cluster_account, launcher
from lumilio.tools.postgres_binaries import ClusterBinaries, cluster_binaries, program_environment, vector_cpu_problem
from lumilio.tools.postgres_directory import (
    SOCKET_DIRECTORY,
    ClusterDirectory,
    check_data,
    clear_remains,
    locked,
    make_incomplete_directory,
    make_socket_directory,
    move_into_place,
    open_directory,
    processes_of,
    release_socket_directory,
    write_configuration,
)
from lumilio.tools.postgres_log import ServerLog, last_words

__all__ = [
    "ClusterAddress",
    "ClusterBinaries",
    "RunningCluster",
    "cluster_binaries",
    "run_cluster",
    "running_address",
    "vector_cpu_problem",
]

_POLL = 0.02
_INITDB_TIMEOUT = 300.0
"""Seconds for initdb, which syncs some thousand files: 1 s on an SSD, a minute on a busy NAS disk."""
_FOREIGN_GRACE = 10.0
"""Seconds for a server that does not say it is stopping: orphaned backends notice within that time."""
_QUIT_TIMEOUT = 10.0
_LOG_CHECK = 60.0
_PREPARATION = Path(__file__).with_name("postgres_prepare.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAddress:
    """What a client needs to connect: ``host`` is the socket's directory. No password: the kernel names the peer."""

    host: str
    user: str
    database: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCluster:
    """A started cluster, valid inside ``run_cluster``."""

    address: ClusterAddress
    pid: int
    _ended: "asyncio.Task[int]" = field(repr=False)
    _log: ServerLog = field(repr=False)

    async def wait_exited(self) -> ClusterFailed:
        """Return when PostgreSQL has ended, with the error to raise if nobody had asked for that."""
        status = await asyncio.shield(self._ended)
        return ClusterFailed(f"PostgreSQL ended by itself ({_ending(status)}){self._log.tail()}")


def running_address(directory: Path) -> ClusterAddress:
    """Where the cluster that another process runs in ``directory`` listens. Raises DatabaseUnavailable."""
    run = directory / SOCKET_DIRECTORY
    try:
        socket = run.resolve(strict=True)
    except OSError as exc:
        raise DatabaseUnavailable(
            f"no PostgreSQL runs in {str(directory)!r}; start the daemon first, name its data directory "
            "(--data), or set database.url to a server"
        ) from exc
    return _address(socket)


def _address(socket: Path) -> ClusterAddress:
    return ClusterAddress(host=str(socket), user="lumilio", database="lumilio")


@asynccontextmanager
async def run_cluster(
    directory: Path, *, start_timeout: float = 60, stop_timeout: float = 60, shared_buffers_mb: int = 128
) -> AsyncIterator[RunningCluster]:
    """Run the cluster in ``directory``, created at the first start; as root, PostgreSQL runs as ``nobody``.

    Times in seconds. ``start_timeout`` counts from the last line in the server log, so that a long recovery after a
    crash is not cut off while it reports progress. On leaving, PostgreSQL gets a fast shutdown, after
    ``stop_timeout`` an immediate one. It also ends when this process dies, however it dies.

    Raises ClusterFailed, ClusterVersionMismatch or ToolMissing; the message carries the last lines of the log.
    """
    binaries = await asyncio.to_thread(cluster_binaries)
    account = cluster_account()
    layout = await asyncio.to_thread(open_directory, directory, account)
    with locked(layout):
        try:
            prefix = await asyncio.to_thread(launcher, account, binaries.directory, layout.top)
            await _until_alone(layout, start_timeout, stop_timeout)
            await asyncio.to_thread(clear_remains, layout)
            if not await asyncio.to_thread(check_data, layout, binaries, account):
                await _create(layout, binaries, account, prefix)
            socket = await asyncio.to_thread(make_socket_directory, layout, account)
            write_configuration(layout, account, socket=socket, shared_buffers_mb=shared_buffers_mb)
        except OSError as exc:
            raise ClusterFailed(f"cannot prepare the database directory {str(layout.top)!r}: {exc}") from exc
        try:
            async with _server(layout, binaries, prefix, start_timeout, stop_timeout) as (pid, ended, log):
                await _prepare_database(binaries, socket, start_timeout)
                yield RunningCluster(address=_address(socket), pid=pid, _ended=ended, _log=log)
        finally:
            release_socket_directory(layout)


@asynccontextmanager
async def _server(
    layout: ClusterDirectory,
    binaries: ClusterBinaries,
    prefix: Sequence[str],
    start_timeout: float,
    stop_timeout: float,
) -> AsyncIterator[tuple[int, "asyncio.Task[int]", ServerLog]]:
    """The postgres process from *ready* to its end."""
    ServerLog(path=layout.log).bound()
    log = ServerLog(path=layout.log, start=ServerLog(path=layout.log).size())
    command = [*prefix, binaries.program("postgres"), "-c", f"config_file={layout.configuration}"]
    with log.appending() as descriptor:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=program_environment(),
            cwd="/",
            start_new_session=True,  # Ctrl-C in a terminal reaches the daemon, which stops the database last
        )
    ended = asyncio.create_task(process.wait(), name="postgres.wait")
    bounding = asyncio.create_task(_keep_bounded(log), name="postgres.bound_log")
    try:
        await _until_ready(layout, process.pid, ended, log, start_timeout)
        yield process.pid, ended, log
    finally:
        bounding.cancel()
        await _stop(process, ended, stop_timeout)


async def _until_alone(layout: ClusterDirectory, start_timeout: float, stop_timeout: float) -> None:
    """Wait for the server of a killed Lumilio to go down. Raises ClusterFailed when it, or a stranger's, stays."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while pids := await asyncio.to_thread(processes_of, layout):
        state = layout.server_state() or "unknown"
        if loop.time() - began > (stop_timeout if state == "stopping" else min(_FOREIGN_GRACE, start_timeout)):
            first = next(iter(layout.pid_file_lines()), str(pids[0]))
            raise ClusterFailed(
                f"{str(layout.data)!r} is in use by PostgreSQL process {first} ({state}), which this Lumilio did not "
                f"start; stop it with: kill -INT {first}",
                details={"pids": pids},
            )
        await asyncio.sleep(_POLL)


async def _create(
    layout: ClusterDirectory, binaries: ClusterBinaries, account: ClusterAccount, prefix: Sequence[str]
) -> None:
    """initdb beside the final place, then one rename: a kill in between leaves nothing that looks like a cluster."""
    incomplete = await asyncio.to_thread(make_incomplete_directory, layout, account)
    await _run_program(
        [
            *prefix,
            binaries.program("initdb"),
            f"--pgdata={incomplete}",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--auth=peer",
            "--data-checksums",
            "--no-instructions",
        ],
        what="creating the database cluster",
        timeout=_INITDB_TIMEOUT,
    )
    await asyncio.to_thread(move_into_place, layout, incomplete)


async def _prepare_database(binaries: ClusterBinaries, socket: Path, timeout: float) -> None:
    """The role, the database and its extension, as the cluster's owner; idempotent."""
    vector_runs = "off" if await asyncio.to_thread(vector_cpu_problem) else "on"
    connect = [f"--host={socket}", "--username=postgres", "--dbname=postgres"]
    script = ["--set=ON_ERROR_STOP=1", f"--set=vector_runs={vector_runs}", f"--file={_PREPARATION}"]
    await _run_program(
        [binaries.program("psql"), "--no-psqlrc", "--quiet", *connect, *script],
        what="preparing the database",
        timeout=timeout,
    )


async def _run_program(command: Sequence[str], *, what: str, timeout: float) -> None:
    """Run a program of the cluster to its end. Raises ClusterFailed with its last words."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=program_environment(),
        cwd="/",
        start_new_session=True,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), timeout)
    except TimeoutError:
        raise ClusterFailed(f"{what} took longer than {timeout:g} s; is the disk very slow or full?") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        raise ClusterFailed(f"{what} ended with {_ending(process.returncode)}{last_words(output)}")


async def _until_ready(
    layout: ClusterDirectory, pid: int, ended: "asyncio.Task[int]", log: ServerLog, timeout: float
) -> None:
    """Wait until postmaster.pid says *ready*, as pg_ctl does."""
    loop = asyncio.get_running_loop()
    size, deadline = -1, 0.0
    while layout.server_state(pid) != "ready":
        if ended.done():
            raise ClusterFailed(f"PostgreSQL did not start ({_ending(ended.result())}){log.tail()}")
        if log.size() != size:
            size, deadline = log.size(), loop.time() + timeout
        if loop.time() > deadline:
            raise ClusterFailed(f"PostgreSQL was not ready after {timeout:g} s without a sign of progress{log.tail()}")
        await asyncio.wait({ended}, timeout=_POLL)


async def _stop(process: asyncio.subprocess.Process, ended: "asyncio.Task[int]", timeout: float) -> None:
    """Fast shutdown, then immediate, then kill; a second cancellation goes straight to immediate."""
    for number, patience in (
        (signal.SIGINT, timeout),
        (signal.SIGQUIT, _QUIT_TIMEOUT),
        (signal.SIGKILL, _QUIT_TIMEOUT),
    ):
        if ended.done():
            return
        with suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            await asyncio.wait({ended}, timeout=patience)
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGQUIT)
            raise


async def _keep_bounded(log: ServerLog) -> None:
    while True:
        await asyncio.sleep(_LOG_CHECK)
        await asyncio.to_thread(log.bound)


def _ending(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
