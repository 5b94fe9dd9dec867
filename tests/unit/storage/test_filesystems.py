"""Filesystems that are full, read-only or split: real mounts, in a mount namespace of their own."""

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]

PRELUDE = """
import asyncio, os, subprocess, sys
from pathlib import Path
from dataclasses import replace
from uuid import uuid4
from lumilio.errors import *
from lumilio.model import ContentHash, DuplicateNames, RepoPath, UploadId
from lumilio.storage.commit import commit
from lumilio.storage.creation import create_repository
from lumilio.storage.hashing import digest
from lumilio.storage.repository import open_repository, validate_repository
from lumilio.storage.staging import acknowledge, discard, receive, staged_path
from lumilio.storage.trash import move_to_trash, restore

MIB = 1024 * 1024

def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True, timeout=20)

async def stream(megabytes):
    for _ in range(megabytes):
        yield b"x" * MIB

async def stage(repository, megabytes=1):
    part = await receive(repository, UploadId(uuid4()), stream(megabytes), size_limit=None, reserve_bytes=0)
    assert await acknowledge(repository, part.upload_id)
    return replace(part, path=staged_path(repository, part.upload_id))

async def settle(repository, staged):
    wanted = RepoPath("inbox/2024/05/IMG.jpg")
    policy = DuplicateNames.RENAME
    return await commit(repository, staged.path, wanted, policy=policy, content_hash=staged.content_hash)

async def refused(error, awaitable):
    try:
        await awaitable
    except error as exc:
        return str(exc)
    raise AssertionError(f"no {error}")
"""


def run_with_mounts(tmp_path: Path, body: str) -> None:
    """Run the statements of ``body`` as the root of a mount namespace; mounts end with it. ``root`` is ``tmp_path``."""
    statements = "\n".join("    " + line for line in body.strip("\n").splitlines())
    script = f"{PRELUDE}\nasync def main(root):\n{statements}\n\nasyncio.run(main(Path(sys.argv[1])))\n"
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    child = subprocess.run(
        ["unshare", "--mount", *as_root, sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=CHECKOUT,
    )
    assert child.returncode == 0, child.stderr


def test_a_full_disk_refuses_uploads_keeps_what_is_there_and_works_again_once_there_is_space(tmp_path: Path) -> None:
    run_with_mounts(
        tmp_path,
        """
mount("-t", "tmpfs", "-o", "size=8m", "small", str(root))
repository = await create_repository(root / "photos", name="Photos")
kept = await stage(repository, 3)
await refused(DiskFull, stage(repository, 20))
await refused(DiskFull, receive(repository, UploadId(uuid4()), stream(4), size_limit=None, reserve_bytes=2 * MIB))
assert [path.name for path in repository.incoming.iterdir()] == [kept.path.name]
assert digest(kept.path) == kept.content_hash
committed = await settle(repository, kept)
await discard(kept)
assert (repository.root / committed.path).stat().st_size == 3 * MIB
await stage(repository, 4)
""",
    )


def test_a_disk_without_inodes_refuses_uploads_and_commits_without_loss(tmp_path: Path) -> None:
    run_with_mounts(
        tmp_path,
        """
mount("-t", "tmpfs", "-o", "size=8m,nr_inodes=64", "small", str(root))
repository = await create_repository(root / "photos", name="Photos")
staged = await stage(repository)
fillers = 0
try:
    while True:
        (root / str(fillers)).touch()
        fillers += 1
except OSError:
    pass
message = await refused(DiskFull, stage(repository))
assert "no space left" in message, message
assert len(list(repository.incoming.iterdir())) == 1
await refused(DiskFull, settle(repository, staged))
assert not (root / "photos/inbox/2024").exists()
for number in range(fillers):
    (root / str(number)).unlink()
assert (await settle(repository, staged)).path == "inbox/2024/05/IMG.jpg"
""",
    )


def test_an_inbox_on_another_filesystem_gets_copies_and_its_trash_works(tmp_path: Path) -> None:
    run_with_mounts(
        tmp_path,
        """
repository = await create_repository(root / "photos", name="Photos")
mount("-t", "tmpfs", "-o", "size=8m", "inbox", str(root / "photos/inbox"))
staged = await stage(repository, 2)
first = await settle(repository, staged)
assert await settle(repository, staged) == first
assert digest(repository.root / first.path) == staged.content_hash
assert first.inode != staged.path.stat().st_ino or first.device != staged.path.stat().st_dev
entry = uuid4()
trashed = await move_to_trash(repository, first.path, entry)
assert await move_to_trash(repository, first.path, entry) == trashed
assert digest(repository.root / trashed) == staged.content_hash
assert not (repository.root / first.path).exists()
restored = await restore(repository, trashed, content_hash=staged.content_hash)
assert restored.path == first.path
assert not (repository.root / trashed).exists()
await discard(staged)
large = await stage(repository, 20)
await refused(DiskFull, settle(repository, large))
assert [path.name for path in (repository.root / "inbox/2024/05").iterdir()] == ["IMG.jpg"]
assert large.path.stat().st_size == 20 * MIB
""",
    )


def test_an_inbox_that_is_the_same_filesystem_mounted_again_gets_copies_too(tmp_path: Path) -> None:
    run_with_mounts(
        tmp_path,
        """
repository = await create_repository(root / "photos", name="Photos")
(root / "elsewhere").mkdir()
mount("--bind", str(root / "elsewhere"), str(root / "photos/inbox"))
staged = await stage(repository)
assert digest(repository.root / (await settle(repository, staged)).path) == staged.content_hash
assert [path.name for path in (root / "elsewhere/2024/05").iterdir()] == ["IMG.jpg"]
""",
    )


def test_a_read_only_disk_refuses_everything_and_changes_nothing(tmp_path: Path) -> None:
    run_with_mounts(
        tmp_path,
        """
mount("-t", "tmpfs", "-o", "size=8m", "disk", str(root))
repository = await create_repository(root / "photos", name="Photos")
staged = await stage(repository)
committed = await settle(repository, staged)
mount("-o", "remount,bind,ro,nosuid,nodev", str(root))
for attempt in (
    stage(repository),
    discard(staged),
    move_to_trash(repository, committed.path, uuid4()),
    create_repository(root / "second", name="Second"),
):
    assert "read-only" in await refused(StorageError, attempt)
assert await open_repository(root / "photos") == repository
assert any("not readable and writable" in fault.reason for fault in await validate_repository(root / "photos"))
assert digest(repository.root / committed.path) == staged.content_hash
""",
    )


def test_an_unmounted_disk_is_offline_and_its_mount_point_stays_empty(tmp_path: Path) -> None:
    run_with_mounts(
        tmp_path,
        """
mount("-t", "tmpfs", "-o", "size=8m", "disk", str(root))
repository = await create_repository(root, name="Photos")
staged = await stage(repository)
subprocess.run(["umount", str(root)], check=True, timeout=20)
await refused(RepositoryOffline, stage(repository))
await refused(RepositoryOffline, settle(repository, staged))
await refused(RepositoryOffline, move_to_trash(repository, RepoPath("a.jpg"), uuid4()))
await refused(RepositoryOffline, open_repository(root))
assert list(root.iterdir()) == []
""",
    )
