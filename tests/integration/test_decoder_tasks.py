"""What a task in a decoder child is given, and what the daemon takes from it."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lumilio.errors import DecoderCrashed, StorageError, ToolError
from lumilio.tools.decoders import DecoderLimits, DecoderPool
from tests.integration.decoder_tasks import (
    LOADED,
    MIB,
    content_of,
    copy,
    fill,
    forge,
    give_a_function,
    own_pid,
    read_by_many_ways,
    report_nonsense,
    report_often,
    write_original,
)


@pytest.fixture
async def pool() -> AsyncIterator[DecoderPool]:
    async with DecoderPool(size=1, preload=LOADED) as running:
        yield running


async def test_a_child_writes_a_target_up_to_its_limit(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.touch()
    async with DecoderPool(size=1, preload=LOADED) as pool:
        with pytest.raises(ToolError, match="File too large"):
            await pool.run(fill, target, 20 * MIB, timeout=30, target=target)
        assert target.stat().st_size == 16 * MIB
    async with DecoderPool(size=1, preload=LOADED, limits=DecoderLimits(file_bytes=None)) as pool:
        await pool.run(fill, target, 20 * MIB, timeout=30, target=target)
        assert target.stat().st_size == 20 * MIB


async def test_an_original_is_read_in_any_way_and_a_target_is_written(pool: DecoderPool, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"0123456789")
    target.touch()

    assert await pool.run(read_by_many_ways, source, timeout=30) == [b"01", b"0123", b"23", b"89", b"0123456789"]
    assert await pool.run(copy, source, target, timeout=30, target=target) == 10
    assert target.read_bytes() == b"0123456789"


async def test_an_original_cannot_be_written_to(pool: DecoderPool, tmp_path: Path) -> None:
    path = tmp_path / "original"
    path.write_bytes(b"as it was")

    with pytest.raises(StorageError, match="was not given"):
        await pool.run(write_original, path, timeout=30)
    assert path.read_bytes() == b"as it was"


@pytest.mark.parametrize(
    "name", [b"new\nline", b"-rf", b"pipe|", b"'\"` $HOME", "é\u202e.JPG".encode(), b"not\xffutf8", b" "]
)
async def test_hostile_names_are_read_like_others(pool: DecoderPool, tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"content")

    assert await pool.run(content_of, path, timeout=30) == b"content"


async def test_what_is_no_readable_file_is_a_storage_error(pool: DecoderPool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in ((tmp_path / "absent", "No such file"), (tmp_path, "not a file"), (tmp_path / "pipe", "not a")):
        with pytest.raises(StorageError, match=reason):
            await pool.run(content_of, path, timeout=30)


async def test_progress_arrives_in_order_and_before_the_result(pool: DecoderPool) -> None:
    told: list[float] = []

    await pool.run(report_often, 10, timeout=30, on_progress=told.append)

    assert told == sorted(told)
    assert told[0] == 0.0
    assert told[-1] == 1.0
    assert len(told) > 2


async def test_progress_is_a_fraction_whatever_a_child_says(pool: DecoderPool) -> None:
    told: list[float] = []

    await pool.run(report_nonsense, timeout=30, on_progress=told.append)

    assert told == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    "message",
    [
        b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        b"{}",
        b"[" * 100_000,
        b'{"grown": 0, "result": {"dataclass": ["os", "system", {}]}}',
        b'{"grown": 0, "result": {"dataclass": ["lumilio.tools.decoders", "DecoderPool", {"size": 1}]}}',
    ],
)
async def test_a_child_that_was_taken_over_makes_the_daemon_do_nothing(pool: DecoderPool, message: bytes) -> None:
    with pytest.raises(DecoderCrashed):
        await pool.run(forge, message, timeout=30)
    assert await pool.run(own_pid, timeout=30) > 0


async def test_a_result_that_cannot_be_sent_is_an_error(pool: DecoderPool) -> None:
    with pytest.raises(ToolError, match="cannot be sent from a decoder"):
        await pool.run(give_a_function, timeout=30)
