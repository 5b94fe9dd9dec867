"""What a task in a decoder child is given, and what the daemon takes from it."""

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar
from uuid import UUID

import pytest

from lumilio.errors import DecoderCrashed, StorageError, ToolError
from lumilio.model import AssetId, Rendition
from lumilio.tools.declared_types import fits
from lumilio.tools.decoder_wire import Answer, parse_message
from lumilio.tools.decoders import DecoderLimits, DecoderPool
from lumilio.tools.decoding import decode_budget
from tests.integration.decoder_tasks import (
    LOADED,
    MIB,
    budget_of_child,
    content_of,
    copy,
    fill,
    forge,
    forge_bytes,
    forge_rendition,
    give_a_function,
    own_pid,
    read_by_many_ways,
    report_nonsense,
    report_often,
    true_rendition,
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


def packed(name: str, **fields: object) -> dict[str, object]:
    return {"dataclass": ["lumilio.model", name, fields]}


THUMBNAIL: dict[str, object] = {"size": 150, "width": 150, "height": 100, "data": {"bytes": "AAAA"}}
RENDITION: dict[str, object] = {
    "width": 3000,
    "height": 2000,
    "thumbnails": {"tuple": [packed("Thumbnail", **THUMBNAIL)]},
    "source": {"enum": ["lumilio.model", "RenderSource", "original"]},
    "perceptual_hash": 7,
    "thumbhash": None,
    "streams": None,
    "music": None,
}


def rendition(**lie: object) -> bytes:
    return json.dumps({"grown": 0, "result": packed("Rendition", **RENDITION | lie)}).encode()


def thumbnails(**lie: object) -> dict[str, object]:
    return {"thumbnails": {"tuple": [packed("Thumbnail", **THUMBNAIL | lie)]}}


def streams(**lie: object) -> dict[str, object]:
    playback = {"enum": ["lumilio.model", "Playback", "direct"]}
    return {"streams": packed("Streams", **{"container": "mov", "playback": playback} | lie)}


NO_NUMBER, INFINITE = float("nan"), float("inf")
LIES: list[dict[str, object]] = [
    thumbnails(size="/etc/cron.d/x"),
    thumbnails(size={"path": "/etc/cron.d/x"}),
    thumbnails(size=True),
    thumbnails(size=150.0),
    thumbnails(width=NO_NUMBER),
    thumbnails(height=None),
    thumbnails(data="text"),
    thumbnails(data=[1, 2, 3]),
    thumbnails(unknown=1),
    {"thumbnails": [packed("Thumbnail", **THUMBNAIL)]},
    {"thumbnails": {"tuple": [packed("MotionVideo", offset=1, bytes=2)]}},
    {"thumbnails": {"tuple": ["text"]}},
    {"width": INFINITE},
    {"width": "3000"},
    {"width": 1 << 64},
    {"width": -(1 << 64)},
    {"source": "original"},
    {"source": {"enum": ["lumilio.model", "RenderSource", "no such thing"]}},
    {"source": {"enum": ["lumilio.model", "Playback", "direct"]}},
    {"perceptual_hash": False},
    {"thumbhash": {"tuple": []}},
    streams(duration="1"),
    streams(duration=True),
    streams(hdr=1),
    streams(sample_rate=44100.0),
    {"streams": packed("Music")},
    {"music": packed("Music", title=5)},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_field_of_another_type_than_declared_is_no_answer(lie: dict[str, object]) -> None:
    """What reads an answer builds paths and rows of it."""
    answer = parse_message(rendition())
    assert isinstance(answer, Answer)
    assert isinstance(answer.result, Rendition)

    with pytest.raises(EOFError, match="not an answer"):
        parse_message(rendition(**lie))


@pytest.mark.parametrize(
    ("declared", "right", "wrong"),
    [
        (int, [0, -5], [True, 1.0, "1", None]),
        (float, [1, 0.5, INFINITE], [True, "1", None]),
        (bool, [True], [1, None]),
        (None, [None], [0, "", False]),
        (AssetId, [UUID(int=1)], ["1", 1]),
        (int | None, [None, 3], [True, "3"]),
        (Literal["a", 1], ["a", 1], ["b", True]),
        (tuple[str, ...], [(), ("a", "b")], [["a"], ("a", 1), "a"]),
        (tuple[int, str], [(1, "a")], [(1,), (1, "a", "a"), ("a", 1)]),
        (list[bytes], [[b"a"]], [["a"], (b"a",)]),
        (Sequence[str], [["a"], ("a",)], ["a", [1], {"a": 1}]),
        (frozenset[int], [frozenset({1})], [frozenset({"a"}), {1}]),
        (Mapping[str, int], [{"a": 1}], [{"a": "b"}, {1: 1}, [("a", 1)]]),
        (object, [None, print, "a"], []),
    ],
    ids=str,
)
def test_a_value_fits_what_is_declared_or_it_does_not(declared: Any, right: list[Any], wrong: list[Any]) -> None:
    assert [each for each in right if not fits(each, declared)] == []
    assert [each for each in wrong if fits(each, declared)] == []


@pytest.mark.parametrize("declared", ["int", TypeVar("T"), Callable[[], int]], ids=str)
def test_a_declaration_that_is_not_known_lets_nothing_pass(declared: Any) -> None:
    with pytest.raises(LookupError):
        fits(print, declared)


@pytest.mark.parametrize(
    "message",
    [
        {"grown": 0, "result": packed("Rendition", **RENDITION | thumbnails(size="/etc/cron.d/x"))},
        {"grown": 0, "result": packed("Thumbnail", **THUMBNAIL)},
        {"grown": 0, "result": None},
        {"grown": 0, "result": "text"},
        {"grown": "0", "result": packed("Rendition", **RENDITION)},
        {"grown": 0, "error": ["tool.error", ["words"], {"dict": []}]},
        {"grown": 0, "error": ["tool.error", "words", "details"]},
        {"grown": 0, "error": [["tool.error"], "words", {"dict": []}]},
        {"progress": "0.5"},
    ],
    ids=str,
)
async def test_a_child_that_lies_about_a_picture_is_ended_and_not_believed(
    pool: DecoderPool, message: dict[str, object]
) -> None:
    with pytest.raises(DecoderCrashed):
        await pool.run(forge_rendition, json.dumps(message).encode(), timeout=30)
    assert await pool.run(own_pid, timeout=30) > 0


async def test_every_kind_of_field_comes_over_as_it_was(pool: DecoderPool) -> None:
    assert await pool.run(true_rendition, timeout=30) == true_rendition()


async def test_an_answer_is_bounded_in_bytes_and_in_what_they_may_unfold_to(pool: DecoderPool) -> None:
    for sent in ((64 * MIB + 1).to_bytes(4, "big"), b"\xff\xff\xff\xff" + (1 << 40).to_bytes(8, "big")):
        with pytest.raises(DecoderCrashed):
            await pool.run(forge_bytes, sent, timeout=30)
    for values in (b"[],", b"{},", b"0,"):
        with pytest.raises(EOFError, match="too many values"):
            parse_message(b'{"grown": 0, "result": [' + values * 200_000 + b"0]}")


@pytest.mark.parametrize("memory", [256, 768])
async def test_what_a_picture_may_take_follows_from_the_memory_of_the_child(memory: int) -> None:
    async with DecoderPool(size=1, preload=LOADED, limits=DecoderLimits(memory=memory * MIB)) as pool:
        for _ in range(2):
            assert await pool.run(budget_of_child, timeout=30) == memory * MIB * 5 // 6
    assert decode_budget() == 640 * MIB


async def test_a_result_that_cannot_be_sent_is_an_error(pool: DecoderPool) -> None:
    with pytest.raises(ToolError, match="cannot be sent from a decoder"):
        await pool.run(give_a_function, timeout=30)
