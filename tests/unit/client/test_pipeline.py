"""Files reach a real HTTP peer once each, whatever the peer, the network and the files do."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import BodyPartReader, web
from blake3 import blake3

from lumilio.client.discovery import Login
from lumilio.client.library import SidecarOutcome, check_hashes, probe_library
from lumilio.client.pipeline import Pipeline, Plan
from lumilio.client.session import Session
from lumilio.client.tally import Event, FileProcessed, FileSettled, Outcome, Processing, SidecarSettled, Tally
from lumilio.errors import ClientError
from lumilio.media.detect import MEDIA_EXTENSIONS
from lumilio.model import ContentHash
from tests.unit.client.conftest import Peer, problem

STOPPED_PEER = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""A server that is stopped in the middle leaves sockets to the collector: the peer's, not ours."""


async def import_tree(
    peer: Peer,
    *roots: Path,
    patience: float = 20,
    jobs: int = 4,
    dry_run: bool = False,
    wait: bool = True,
    repository_id: str | None = None,
    notices: list[str] | None = None,
) -> tuple[Tally, list[Event]]:
    tally, events = Tally(), list[Event]()
    plan = Plan(
        roots=[str(root) for root in roots],
        extensions=MEDIA_EXTENSIONS,
        jobs=jobs,
        dry_run=dry_run,
        wait=wait,
        repository_id=repository_id,
        patience=patience,
    )
    notice = (notices if notices is not None else []).append
    async with Session(data=peer.data, patience=patience, notice=notice) as session:
        await Pipeline(session, plan, tally, events.append).run()
    return tally, events


def write(directory: Path, count: int, size: int = 1000) -> None:
    for number in range(count):
        (directory / f"{number:04}.jpg").write_bytes(number.to_bytes(4, "big") * (size // 4))


def digest(content: bytes) -> str:
    return str(blake3(content).hexdigest())


async def test_every_file_arrives_whole_and_a_second_import_sends_nothing(peer: Peer, photos: Path) -> None:
    write(photos, 250)
    tally, _ = await import_tree(peer, photos)
    assert (tally.sent, tally.ready, tally.failed, tally.pending) == (250, 250, 0, 0)
    assert sorted(peer.stored.values()) == sorted(path.read_bytes() for path in photos.iterdir())
    assert tally.expected_files == tally.done_files == 250
    assert tally.expected_bytes == tally.done_bytes == tally.sent_bytes == 250_000
    again, _ = await import_tree(peer, photos)
    assert (again.sent, again.duplicates) == (0, 250)
    assert peer.requests["upload"] == 250


async def test_the_same_bytes_under_many_names_are_sent_once(peer: Peer, photos: Path) -> None:
    for number in range(150):
        (photos / f"{number}.jpg").write_bytes(b"same")
    tally, _ = await import_tree(peer, photos)
    assert (tally.sent, tally.duplicates, peer.requests["upload"]) == (1, 149, 1)


async def test_the_peer_learns_name_time_digest_and_repository(peer: Peer, photos: Path) -> None:
    path = photos / 'Zoë "at\\sea" 100%.jpg'
    path.write_bytes(b"abc")
    os.utime(path, (1_500_000_000.25, 1_500_000_000.25))
    await import_tree(peer, path, repository_id="the-repository")
    assert peer.names == [path.name]
    assert peer.repositories == ["the-repository"]
    sent = peer.headers[0]
    assert sent["X-Content-Hash"] == digest(b"abc")
    assert datetime.fromisoformat(sent["X-File-Modified"]) == datetime.fromtimestamp(1_500_000_000.25, UTC)


async def test_a_name_that_is_no_utf8_or_holds_controls_is_sent_with_replacements(peer: Peer, photos: Path) -> None:
    Path(os.fsdecode(os.fsencode(photos) + b"/caf\xe9.jpg")).write_bytes(b"1")
    (photos / "line\nbreak\x1b.jpg").write_bytes(b"2")
    tally, _ = await import_tree(peer, photos)
    assert tally.failed == 0
    assert sorted(peer.names) == ["caf\ufffd.jpg", "line_break_.jpg"]


async def test_no_more_files_are_on_their_way_at_once_than_jobs(peer: Peer, photos: Path) -> None:
    write(photos, 40, size=300_000)
    await import_tree(peer, photos, jobs=3)
    assert 1 < peer.most_at_once <= 3


async def test_a_connection_that_breaks_in_the_middle_is_tried_again(peer: Peer, photos: Path) -> None:
    async def cut(request: web.Request) -> None:
        await request.content.readany()
        assert request.transport is not None
        request.transport.abort()
        await asyncio.Event().wait()

    write(photos, 3, size=5_000_000)
    peer.misdeeds.extend([cut, cut])
    tally, _ = await import_tree(peer, photos)
    assert (tally.sent, tally.failed) == (3, 0)
    assert sorted(peer.stored.values()) == sorted(path.read_bytes() for path in photos.iterdir())


async def test_bytes_are_not_sent_again_when_only_the_answer_was_lost(peer: Peer, photos: Path) -> None:
    async def store_and_cut(request: web.Request) -> None:
        await peer.store(request)
        assert request.transport is not None
        request.transport.abort()
        await asyncio.Event().wait()

    write(photos, 1)
    peer.misdeeds.append(store_and_cut)
    tally, _ = await import_tree(peer, photos)
    assert (tally.sent, tally.ready, peer.requests["upload"]) == (1, 1, 1)


async def test_a_file_whose_connection_always_breaks_fails_and_the_others_arrive(peer: Peer, photos: Path) -> None:
    async def cut(request: web.Request) -> web.Response | None:
        if request.headers["X-Content-Hash"] != digest(b"unlucky"):
            return None
        assert request.transport is not None
        request.transport.abort()
        await asyncio.Event().wait()
        return None

    write(photos, 5)
    (photos / "unlucky.jpg").write_bytes(b"unlucky")
    peer.misdeeds.extend([cut] * 20)
    tally, events = await import_tree(peer, photos)
    assert (tally.sent, tally.failed) == (5, 1)
    assert [event.code for event in events if isinstance(event, FileSettled) and event.code] == [
        "client.connection_lost"
    ]


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (503, "repository.offline", "not ready"),
        (507, "storage.disk_full", "the server's disk is full; waiting"),
        (429, "request.too_many", "fewer requests"),
    ],
)
async def test_a_peer_that_asks_to_wait_is_waited_for(
    peer: Peer, photos: Path, status: int, code: str, said: str
) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return problem(status, code, "later", {"Retry-After": "0"})

    write(photos, 4)
    peer.misdeeds.extend([refuse] * 5)
    notices: list[str] = []
    tally, _ = await import_tree(peer, photos, notices=notices)
    assert (tally.sent, tally.failed) == (4, 0)
    assert len(notices) == 1
    assert said in notices[0]


async def test_a_full_disk_ends_the_import_when_patience_is_over(peer: Peer, photos: Path) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return problem(507, "storage.disk_full", "full")

    write(photos, 4)
    peer.misdeeds.extend([refuse] * 100)
    with pytest.raises(ClientError, match=r"disk is full; gave up after 0.5 s"):
        await import_tree(peer, photos, patience=0.5)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_a_refused_file_fails_with_the_reason_and_the_others_arrive(
    peer: Peer, photos: Path, status: int
) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return problem(status, "request.refused", "this \x1b[31mone\nnot")

    write(photos, 3, size=3_000_000)
    peer.misdeeds.append(refuse)
    tally, _ = await import_tree(peer, photos)
    assert (tally.sent, tally.failed) == (2, 1)
    assert tally.failures[0].reason == "this \\x1b[31mone not"


async def test_a_fault_of_the_server_is_tried_again_and_then_belongs_to_the_file(peer: Peer, photos: Path) -> None:
    async def fail(_request: web.Request) -> web.Response:
        return problem(500, "internal.error", "a fault")

    write(photos, 1)
    peer.misdeeds.extend([fail] * 2)
    assert (await import_tree(peer, photos))[0].sent == 1
    (photos / "other.jpg").write_bytes(b"other")
    peer.misdeeds.extend([fail] * 9)
    assert (await import_tree(peer, photos))[0].failed == 1


async def test_a_forbidden_upload_ends_the_import_at_once(peer: Peer, photos: Path) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return problem(403, "auth.forbidden", "guests do not upload")

    write(photos, 3)
    peer.misdeeds.extend([refuse] * 3)
    with pytest.raises(ClientError, match="guests do not upload"):
        await import_tree(peer, photos)


async def test_an_expired_token_is_read_anew_from_the_file(peer: Peer, photos: Path) -> None:
    async def expire(_request: web.Request) -> web.Response:
        peer.token = "second"
        peer.write_file()
        return problem(401, "auth.unauthenticated", "expired")

    write(photos, 8)
    peer.misdeeds.extend([expire])
    tally, _ = await import_tree(peer, photos)
    assert (tally.sent, tally.failed) == (8, 0)


async def test_an_expired_token_of_a_login_means_logging_in_again(peer: Peer) -> None:
    async with Session(url=peer.url, login=Login(username="anna", password="secret")) as session:
        await probe_library(session)
        peer.token = "second"
        await check_hashes(session, [ContentHash("0" * 64)])
    assert peer.requests["login"] == 2


async def test_a_wrong_password_is_said_once_and_not_tried_again(peer: Peer) -> None:
    with pytest.raises(ClientError, match="'anna' and password do not belong together"):
        async with Session(url=peer.url, login=Login(username="anna", password="guess")):
            pass
    assert peer.requests["login"] == 1


@STOPPED_PEER
async def test_a_restart_on_another_port_in_the_middle_is_survived(peer: Peer, photos: Path) -> None:
    write(photos, 60, size=200_000)
    importing = asyncio.create_task(import_tree(peer, photos))
    await peer.arrived.wait()
    await peer.stop()
    peer.token = "second"
    await peer.start()
    tally, _ = await importing
    assert (tally.sent + tally.duplicates, tally.failed) == (60, 0)
    assert len(peer.stored) == 60


@STOPPED_PEER
async def test_a_peer_that_stays_away_ends_the_import_with_one_sentence(peer: Peer, photos: Path) -> None:
    write(photos, 60, size=200_000)
    importing = asyncio.create_task(import_tree(peer, photos, patience=1))
    await peer.arrived.wait()
    await peer.stop()
    with pytest.raises(ClientError, match=r"cannot be reached|broke"):
        await importing


async def test_a_file_that_changes_between_hashing_and_sending_arrives_as_it_is_then(peer: Peer, photos: Path) -> None:
    path = photos / "growing.jpg"
    path.write_bytes(b"half")

    async def grow(_request: web.Request) -> web.Response:
        path.write_bytes(b"the whole file")
        return problem(400, "request.hash_mismatch", "differs")

    peer.misdeeds.append(grow)
    tally, _ = await import_tree(peer, photos)
    assert (tally.sent, tally.failed) == (1, 0)
    assert list(peer.stored.values()) == [b"the whole file"]


async def test_a_file_that_keeps_changing_fails(peer: Peer, photos: Path) -> None:
    path = photos / "growing.jpg"
    path.write_bytes(b"1")

    async def grow(_request: web.Request) -> web.Response:
        path.write_bytes(path.read_bytes() + b"1")
        return problem(400, "request.hash_mismatch", "differs")

    peer.misdeeds.extend([grow] * 5)
    tally, _ = await import_tree(peer, photos)
    assert (tally.sent, tally.failed, peer.requests["upload"]) == (0, 1, 2)
    assert "changes while it is read" in tally.failures[0].reason


async def test_a_twin_is_sent_when_the_first_file_turned_out_to_be_gone(peer: Peer, photos: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (photos / name).write_bytes(b"twins")

    async def remove(request: web.Request) -> web.Response:
        part = await (await request.multipart()).next()
        assert isinstance(part, BodyPartReader)
        (photos / (part.filename or "")).unlink()
        return problem(503, "repository.offline", "later", {"Retry-After": "0"})

    peer.misdeeds.append(remove)
    tally, events = await import_tree(peer, photos)
    sent = [event.path for event in events if isinstance(event, FileSettled) and event.outcome is Outcome.SENT]
    assert (tally.sent, tally.failed) == (1, 1)
    assert sent == [str(path) for path in photos.iterdir()]


async def test_a_dry_run_sends_nothing_and_counts_twins_once(peer: Peer, photos: Path) -> None:
    write(photos, 5)
    await import_tree(peer, photos)
    sub = photos / "sub"
    sub.mkdir()
    for name in ("x.jpg", "y.jpg", "z.jpg"):
        (sub / name).write_bytes(b"new")
    tally, _ = await import_tree(peer, photos, dry_run=True)
    assert (tally.would_send, tally.duplicates, tally.sent) == (1, 7, 0)
    assert peer.requests["upload"] == 5


async def test_what_the_daemon_made_of_each_file_is_told(peer: Peer, photos: Path) -> None:
    for name in ("good", "damaged", "strange", "lost"):
        (photos / f"{name}.jpg").write_bytes(name.encode())
    peer.problems[digest(b"damaged")] = {"code": "media.damaged", "step": "thumbnails", "reason": "cut off"}
    peer.asset_states[digest(b"strange")] = "unsupported"
    peer.problems[digest(b"lost")] = {"code": "storage.error", "step": "commit", "reason": "gone"}
    peer.states[digest(b"lost")] = "failed"
    tally, events = await import_tree(peer, photos)
    assert (tally.ready, tally.problems, tally.unsupported, tally.lost) == (1, 1, 1, 1)
    assert not tally.all_there
    reasons = {event.state: event.reason for event in events if isinstance(event, FileProcessed)}
    assert reasons[Processing.PROBLEM] == "cut off"


async def test_files_that_the_daemon_is_still_busy_with_are_left_pending_after_the_patience(
    peer: Peer, photos: Path
) -> None:
    write(photos, 3)
    for path in photos.iterdir():
        peer.states[digest(path.read_bytes())] = "running"
    tally, _ = await import_tree(peer, photos, patience=1)
    assert (tally.sent, tally.pending, tally.all_there) == (3, 3, True)


async def test_a_task_that_was_pruned_is_looked_up_by_its_bytes(peer: Peer, photos: Path) -> None:
    write(photos, 1)
    content = (photos / "0000.jpg").read_bytes()

    async def forget(request: web.Request) -> web.Response:
        answer = await peer.store(request)
        del peer.stored[digest(content)]
        return answer

    peer.misdeeds.append(forget)
    tally, _ = await import_tree(peer, photos)
    assert (tally.sent, tally.lost) == (1, 1)


async def test_unreadable_files_and_directories_fail_one_by_one(peer: Peer, photos: Path) -> None:
    write(photos, 2)
    (photos / "gone.jpg").write_bytes(b"x")
    (photos / "notes.txt").write_bytes(b"x")
    deep = photos / "deep"
    deep.mkdir()

    async def remove(_request: web.Request) -> web.Response:
        (photos / "gone.jpg").unlink(missing_ok=True)
        return problem(503, "repository.offline", "later", {"Retry-After": "0"})

    peer.misdeeds.extend([remove] * 3)
    tally, _ = await import_tree(peer, photos)
    assert (tally.sent, tally.failed, tally.skipped) == (2, 1, 1)


async def test_cancelling_leaves_no_task_and_no_open_file(peer: Peer, photos: Path) -> None:
    write(photos, 60, size=1_000_000)
    importing = asyncio.create_task(import_tree(peer, photos))
    await peer.arrived.wait()
    importing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await importing
    left = [task for task in asyncio.all_tasks() if task.get_name().startswith("import")]
    opened = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    assert left == []
    assert not [path for path in opened if path.is_relative_to(photos)]
    tally, _ = await import_tree(peer, photos)
    assert tally.duplicates > 0
    assert len(peer.stored) == 60


def sidecars_of(peer: Peer) -> dict[tuple[bytes, str], tuple[str, bytes]]:
    """By the bytes of the file and the kind."""
    return {
        (peer.stored[asset.removeprefix("asset-")], kind): sidecar for (asset, kind), sidecar in peer.sidecars.items()
    }


@pytest.mark.parametrize("wait", [True, False])
async def test_sidecars_follow_their_files_and_are_not_counted_as_sent_again(
    peer: Peer, photos: Path, wait: bool
) -> None:
    write(photos, 30)
    for number in range(30):
        (photos / f"{number:04}.xmp").write_bytes(b"xmp %d" % number)
    (photos / "0003.jpg.json").write_bytes(b"{}")
    (photos / "other.json").write_bytes(b"{}")
    tally, events = await import_tree(peer, photos, wait=wait)
    assert (tally.sent, tally.failed, tally.skipped) == (30, 0, 1)
    assert (tally.sidecars_sent, tally.sidecars_unreadable, tally.sidecars_pending) == (31, 0, 0)
    there = sidecars_of(peer)
    for number in range(30):
        content = (photos / f"{number:04}.jpg").read_bytes()
        assert there[content, "xmp"] == (f"{number:04}.xmp", b"xmp %d" % number)
    assert there[(photos / "0003.jpg").read_bytes(), "takeout"] == ("0003.jpg.json", b"{}")
    assert sum(isinstance(event, SidecarSettled) for event in events) == 31

    (photos / "0007.xmp").write_bytes(b"changed")
    again, _ = await import_tree(peer, photos, wait=wait)
    assert (again.duplicates, again.sidecars_sent, again.sidecars_unchanged) == (30, 1, 30)


async def test_a_refused_sidecar_is_told_and_its_photo_is_there(peer: Peer, photos: Path) -> None:
    write(photos, 3)
    (photos / "0000.xmp").write_bytes(b"unreadable")
    (photos / "0001.xmp").write_bytes(bytes(5 << 20))
    (photos / "0002.xmp").write_bytes(b"good")
    tally, events = await import_tree(peer, photos)
    assert (tally.sent, tally.ready, tally.all_there) == (3, 3, True)
    assert (tally.sidecars_sent, tally.sidecars_unreadable) == (1, 2)
    refused = {
        Path(event.path).name: (event.code, event.reason)
        for event in events
        if isinstance(event, SidecarSettled) and event.outcome is SidecarOutcome.REFUSED
    }
    assert refused == {
        "0000.xmp": ("media.damaged", "it is not XMP"),
        "0001.xmp": ("client.sidecar_too_large", "larger than 4 MiB"),
    }
    assert peer.requests["sidecar"] == 2


async def test_a_sidecar_that_went_away_is_told(peer: Peer, photos: Path) -> None:
    write(photos, 1)
    (photos / "0000.xmp").write_bytes(b"good")

    async def remove(request: web.Request) -> None:
        (photos / "0000.xmp").unlink()

    peer.misdeeds.append(remove)
    tally, _ = await import_tree(peer, photos)
    assert (tally.sent, tally.sidecars_unreadable, tally.all_there) == (1, 1, True)


async def test_of_two_files_with_the_same_bytes_one_sidecar_of_each_kind_is_sent(peer: Peer, photos: Path) -> None:
    for album in ("a", "b", "c"):
        (photos / album).mkdir()
        (photos / album / "x.jpg").write_bytes(b"same")
        (photos / album / "x.jpg.json").write_bytes(b"{}")
    (photos / "b" / "x.xmp").write_bytes(b"xmp")
    tally, _ = await import_tree(peer, photos)
    assert (tally.sent, tally.duplicates, tally.sidecars_sent) == (1, 2, 2)
    assert {kind for _, kind in peer.sidecars} == {"xmp", "takeout"}


async def test_sidecars_of_files_that_failed_are_not_sent(peer: Peer, photos: Path) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return problem(422, "request.refused", "not this one")

    write(photos, 1)
    (photos / "0000.xmp").write_bytes(b"good")
    peer.misdeeds.append(refuse)
    tally, _ = await import_tree(peer, photos)
    assert (tally.failed, tally.sidecars_sent, peer.requests["sidecar"]) == (1, 0, 0)


async def test_sidecars_whose_files_are_still_being_processed_are_told_as_pending(peer: Peer, photos: Path) -> None:
    write(photos, 2)
    (photos / "0000.xmp").write_bytes(b"good")
    peer.states[digest((photos / "0000.jpg").read_bytes())] = "running"
    tally, _ = await import_tree(peer, photos, patience=1)
    assert (tally.sent, tally.pending, tally.sidecars_pending, tally.sidecars_sent) == (2, 1, 1, 0)


async def test_a_dry_run_sends_no_sidecars(peer: Peer, photos: Path) -> None:
    write(photos, 2)
    (photos / "0000.xmp").write_bytes(b"good")
    await import_tree(peer, photos / "0001.jpg")
    tally, _ = await import_tree(peer, photos, dry_run=True)
    assert (tally.would_send, tally.duplicates, peer.requests["sidecar"]) == (1, 1, 0)
