"""The directory of an embedded cluster: what lies in it, who may use it, and what an earlier run left behind.

``data/``            the database files, owned by PostgreSQL's user
``run/``             the socket; a link to a shorter place when the path would be too long
``postgresql.conf``, ``pg_hba.conf``, ``pg_ident.conf``   written anew at every start
``postgres.log``     what PostgreSQL says, with the older part in ``postgres.log.1``
``lock``             held by the Lumilio that runs the cluster, whose process id it holds
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lumilio.errors import ClusterFailed, ClusterVersionMismatch
from lumilio.tools.postgres_account import ClusterAccount
from lumilio.tools.postgres_binaries import ClusterBinaries

PORT = 5432
_INCOMPLETE = "data.incomplete-"
_SOCKET_PATH_LIMIT = 107  # bytes; sun_path of unix(7) less its final zero

_SETTINGS = """\
# Written by Lumilio at every start; changes made here are lost.
data_directory = {data}
hba_file = {hba}
ident_file = {ident}
cluster_name = {cluster_name}
listen_addresses = ''
port = {port}
unix_socket_directories = {socket}
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = {shared_buffers_mb}MB
jit = off
wal_level = minimal
max_wal_senders = 0
max_logical_replication_workers = 0
max_wal_size = 512MB
autovacuum_max_workers = 2
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_checkpoints = off
log_startup_progress_interval = 5s
"""
# wal_level: nothing replicates from this cluster, and minimal writes less. max_wal_size bounds crash recovery.


SOCKET_DIRECTORY = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDirectory:
    """The paths of one cluster; ``top`` is absolute."""

    top: Path

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.top / "data"

    @property
    def log(self) -> Path:
        """The server log."""
        return self.top / "postgres.log"

    @property
    def run(self) -> Path:
        """The socket directory, or a link to it."""
        return self.top / SOCKET_DIRECTORY

    @property
    def configuration(self) -> Path:
        """What ``postgres -c config_file`` reads."""
        return self.top / "postgresql.conf"

    @property
    def cluster_name(self) -> str:
        """What the titles of all its processes begin with: the same at every start in the same place."""
        return f"lumilio-{hashlib.sha256(os.fsencode(self.top)).hexdigest()[:16]}"

    def server_state(self, pid: int | None = None) -> str | None:
        """``starting``, ``ready`` or ``stopping`` as postmaster.pid says, of ``pid`` if given; None without one."""
        lines = self.pid_file_lines()
        if len(lines) < 8 or (pid is not None and lines[0] != str(pid)):
            return None
        return lines[7]

    def pid_file_lines(self) -> list[str]:
        """The lines of postmaster.pid: process, data directory, start, port, socket, address, memory key, state."""
        try:
            text = (self.data / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines()]


def open_directory(directory: Path, account: ClusterAccount) -> ClusterDirectory:
    """Create what is missing of ``directory`` itself; as root, others may pass through it but not list it."""
    top = directory.resolve()
    try:
        top.mkdir(parents=True, exist_ok=True)
        top.chmod(0o711 if account.switches else 0o700)
    except OSError as exc:
        raise ClusterFailed(
            f"cannot use {str(top)!r} for the database: {exc.strerror}; if another user made it, start Lumilio as that "
            "user, or choose another data directory"
        ) from exc
    return ClusterDirectory(top=top)


@contextmanager
def locked(directory: ClusterDirectory) -> Iterator[None]:
    """Keep every other Lumilio out. The kernel drops the lock with the process, however that ends."""
    path = directory.top / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as exc:
        raise ClusterFailed(
            f"cannot open {str(path)!r}: {exc.strerror}; start Lumilio as the user that made it"
        ) from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise ClusterFailed(
                f"{str(directory.top)!r} is in use by another Lumilio, process {holder}; stop that one, or choose "
                "another data directory"
            ) from None
        except OSError as exc:
            raise ClusterFailed(
                f"{str(path)!r} cannot be locked: {exc.strerror}; put the database on a local filesystem"
            ) from exc
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        os.close(descriptor)


def check_data(directory: ClusterDirectory, binaries: ClusterBinaries, account: ClusterAccount) -> bool:
    """Whether ``data`` exists and is usable. Raises ClusterVersionMismatch, or ClusterFailed when it is not ours."""
    data = directory.data
    if not data.exists():
        return False
    owner = data.stat().st_uid
    if owner != account.uid:
        raise ClusterFailed(
            f"{str(data)!r} belongs to user id {owner}, but PostgreSQL would run as {account.name!r}; start Lumilio as "
            f"the user that made it, or give it away: chown -R {account.uid}:{account.gid} {str(data)!r}"
        )
    try:
        version = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    except OSError as exc:
        raise ClusterFailed(
            f"{str(data)!r} is no PostgreSQL data directory (PG_VERSION: {exc.strerror}); move it away to begin with "
            "an empty database"
        ) from exc
    if version != binaries.major:
        raise ClusterVersionMismatch(
            f"{str(data)!r} was written by PostgreSQL {version}, this Lumilio runs PostgreSQL {binaries.version}; "
            f"start the Lumilio that wrote it and dump the database with its pg_dump, or move {str(data)!r} away to "
            "begin with an empty one (originals are not touched either way)",
            details={"found": version, "expected": binaries.major},
        )
    return True


def processes_of(directory: ClusterDirectory) -> list[int]:
    """The running PostgreSQL processes of the data directory: every one of them has it as working directory.

    The number in postmaster.pid alone says little: after a restart of the machine or container it may be anybody's.
    A container's root may not look at the working directory of another user's process; there a server counts by that
    number, and one of its orphans by the cluster name in its title.
    """
    try:
        wanted = directory.data.stat()
    except FileNotFoundError:
        return []
    recorded = next(iter(directory.pid_file_lines()), "")
    title = f"postgres: {directory.cluster_name}: ".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # no process, or one that ended meanwhile
            if not entry.name.isdigit() or (entry / "comm").read_bytes().strip() != b"postgres":
                continue
            try:
                ours = os.path.samestat((entry / "cwd").stat(), wanted)
            except PermissionError:
                named = entry.name == recorded or (entry / "cmdline").read_bytes().startswith(title)
                ours = named and entry.stat().st_uid == wanted.st_uid
            if ours:
                found.append(int(entry.name))
    return sorted(found)


def clear_remains(directory: ClusterDirectory) -> None:
    """Remove what a killed run left behind. Only for the holder of the lock, when no process of the cluster lives."""
    for incomplete in directory.top.glob(f"{_INCOMPLETE}*"):
        shutil.rmtree(incomplete, ignore_errors=True)  # an initdb that is just dying may still write: next time
    lines = directory.pid_file_lines()
    if lines and lines[0].isdigit() and Path("/proc", lines[0]).exists():
        # PostgreSQL would take the stranger with that number for the old server and refuse to start. In all other
        # cases the file stays: PostgreSQL finds by it whether the old shared memory is still attached.
        (directory.data / "postmaster.pid").unlink()
    release_socket_directory(directory)


def make_incomplete_directory(directory: ClusterDirectory, account: ClusterAccount) -> Path:
    """Where initdb works until it is done: a half-made ``data`` never exists.

    The name is new each time, because an initdb that gets killed with its parent empties its directory as it ends.
    """
    path = Path(tempfile.mkdtemp(prefix=_INCOMPLETE, dir=directory.top))
    os.chown(path, account.uid, account.gid)
    return path


def move_into_place(directory: ClusterDirectory, incomplete: Path) -> None:
    """Make the finished directory the cluster's ``data``, durably."""
    incomplete.rename(directory.data)
    descriptor = os.open(directory.top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_socket_directory(directory: ClusterDirectory, account: ClusterAccount) -> Path:
    """``run/``, or a private directory with a short path that ``run`` links to."""
    path = directory.run
    if _socket_fits(path):
        path.mkdir(mode=0o700)
    else:
        path = _short_directory(directory.cluster_name)
        directory.run.symlink_to(path)
    os.chown(path, account.uid, account.gid)
    return path


def release_socket_directory(directory: ClusterDirectory) -> None:
    """Remove the socket directory, wherever it is."""
    run = directory.run
    if run.is_symlink():
        shutil.rmtree(run.readlink(), ignore_errors=True)
        run.unlink()
    elif run.exists():
        shutil.rmtree(run)


def _short_directory(name: str) -> Path:
    """The same at every start, so that a process of another start finds it; another one where that name is taken."""
    parents = (Path(f"/run/user/{os.geteuid()}"), Path("/run"), Path(tempfile.gettempdir()))
    for path in (parent / name for parent in parents):
        with suppress(OSError):
            if _socket_fits(path):
                path.mkdir(mode=0o700)
                return path
    for parent in parents:
        with suppress(OSError):
            path = Path(tempfile.mkdtemp(prefix="lumilio-", dir=parent))
            if _socket_fits(path):
                return path
            path.rmdir()
    raise ClusterFailed(
        f"no directory with a path short enough for a socket (limit {_SOCKET_PATH_LIMIT} bytes) is writable; set "
        "TMPDIR to a short one such as /tmp"
    )


def _socket_fits(path: Path) -> bool:
    return len(os.fsencode(path / f".s.PGSQL.{PORT}")) <= _SOCKET_PATH_LIMIT


def write_configuration(
    directory: ClusterDirectory, account: ClusterAccount, *, socket: Path, shared_buffers_mb: int
) -> None:
    """The settings and who may connect: the user that runs Lumilio, through the socket, without a password."""
    hba, ident = directory.top / "pg_hba.conf", directory.top / "pg_ident.conf"
    settings = _SETTINGS.format(
        data=_quoted(directory.data),
        hba=_quoted(hba),
        cluster_name=_quoted(directory.cluster_name),
        ident=_quoted(ident),
        socket=_quoted(f'"{socket}"'),  # a list, in which a comma would separate
        port=PORT,
        shared_buffers_mb=shared_buffers_mb,
    )
    _write_file(directory.configuration, settings)
    _write_file(hba, "local all all peer map=lumilio\n")
    roles = ("lumilio", "postgres")
    _write_file(ident, "".join(f'lumilio "{account.client}" {role}\n' for role in roles))


def _quoted(value: Path | str) -> str:
    text = str(value).replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n")
    return f"'{text}'"


def _write_file(path: Path, text: str) -> None:
    path.write_bytes(os.fsencode(text))
    path.chmod(0o644)
