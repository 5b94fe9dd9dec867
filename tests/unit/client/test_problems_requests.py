"""What the commands about problems ask the daemon, and what they make of its answers."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lumilio import cli_problems
from lumilio.client.problems import Selection, read_pages
from lumilio.client.session import Session

ASSET = "0197f3a0-5b1c-7c11-9d0e-6a1f0c2b3d4e"


@dataclass
class Daemon:
    """Lists ``problems`` problems as the daemon does, and remembers what it was asked to change."""

    data: Path
    problems: int = 0
    queries: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    answer: dict[str, int] = field(default_factory=lambda: {"retried": 2, "waiting": 1, "changed": 3})

    async def list(self, request: web.Request) -> web.Response:
        self.queries.append(request.query_string)
        limit, first = int(request.query["limit"]), int(request.query.get("cursor", 0))
        numbers = range(first, min(self.problems, first + limit))
        after = str(numbers.stop) if numbers.stop < self.problems else None
        items = [{"asset_id": ASSET, "step": str(number), "code": "media.damaged"} for number in numbers]
        counts = [{"code": "media.damaged", "step": "render", "problems": self.problems}] if first == 0 else None
        return web.json_response({"items": items, "next_cursor": after, "counts": counts})

    async def change(self, request: web.Request) -> web.Response:
        self.bodies.append((request.path.rpartition("/")[2], await request.json()))
        return web.json_response(self.answer)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    made = Daemon(data=tmp_path)
    app = web.Application()
    app.router.add_get("/api/v1/problems", made.list)
    app.router.add_post("/api/v1/problems/{action}", made.change)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    document = {"url": f"http://127.0.0.1:{runner.addresses[0][1]}", "token": "t"}
    (tmp_path / "daemon.json").write_text(json.dumps(document))
    yield made
    await runner.cleanup()


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli_problems.add_parsers(parser.add_subparsers(required=True))
    return parser.parse_args(["problems", *arguments])


async def run(daemon: Daemon, *arguments: str) -> int:
    """The command, whose event loop is its own."""
    args = parse(*arguments, "--data", str(daemon.data))
    return await asyncio.to_thread(args.run, args)


@pytest.mark.parametrize(
    ("problems", "limit", "sizes", "more"),
    [
        (0, 50, [0], False),
        (50, 50, [50], False),
        (51, 50, [50], True),
        (1200, 700, [500, 200], True),
        (1000, None, [500, 500], False),
    ],
)
async def test_as_many_problems_as_wanted_come_in_pages(
    daemon: Daemon, problems: int, limit: int | None, sizes: Sequence[int], more: bool
) -> None:
    daemon.problems = problems
    async with Session(data=daemon.data) as session:
        pages = [page async for page in read_pages(session, Selection(), limit=limit)]
    assert [len(page.items) for page in pages] == list(sizes)
    assert (pages[-1].next_cursor is not None) == more
    assert [bool(page.document["counts"]) for page in pages] == [True] + [False] * (len(pages) - 1)


async def test_a_selection_is_asked_for_in_every_page(daemon: Daemon) -> None:
    daemon.problems = 501
    wanted = Selection(asset_ids=(ASSET,), code="media.damaged", tool="libraw", kind="photo", ignored=False)
    async with Session(data=daemon.data) as session:
        assert [page async for page in read_pages(session, wanted, limit=None)]
    asked = f"asset_id={ASSET}&code=media.damaged&tool=libraw&kind=photo&ignored=false&limit=500"
    assert daemon.queries == [asked, f"{asked}&cursor=500"]


@pytest.mark.parametrize(
    ("arguments", "action", "body"),
    [
        (["retry", "--all"], "retry", {"ignored": False, "all": False, "dry_run": False}),
        (["retry", ASSET.upper(), ASSET], "retry", {"asset_id": [ASSET], "all": False, "dry_run": False}),
        (
            ["retry", "--ignored", ASSET],
            "retry",
            {"asset_id": [ASSET], "ignored": True, "all": False, "dry_run": False},
        ),
        (
            ["retry", "--tool", "libraw", "--dry-run"],
            "retry",
            {"tool": "libraw", "ignored": False, "all": False, "dry_run": True},
        ),
        (["ignore", "--all"], "ignore", {"ignored": True, "all": True, "dry_run": False}),
        (
            ["ignore", "--undo", "--format", "nef", "--step", "render"],
            "ignore",
            {"format": "nef", "step": "render", "ignored": False, "all": False, "dry_run": False},
        ),
    ],
)
async def test_what_is_chosen_is_what_is_changed(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], arguments: list[str], action: str, body: dict[str, Any]
) -> None:
    assert await run(daemon, *arguments) == 0
    assert daemon.bodies == [(action, body)]
    assert capsys.readouterr().err == ""


async def test_counts_are_told_to_people_and_to_scripts(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, told in (
        (
            ["retry", "--all"],
            "2 files will be tried again, 1 more are being tried already\nfollow it: lumilio jobs watch\n",
        ),
        (["retry", "--all", "--dry-run"], "2 files would be tried again, 1 more are being tried already\n"),
        (["ignore", "--all"], "3 problems ignored\n"),
        (["ignore", "--all", "--undo", "--dry-run"], "3 problems would be shown again\n"),
    ):
        assert await run(daemon, *arguments) == 0
        assert capsys.readouterr().out == told
    assert await run(daemon, "retry", "--all", "--json") == 0
    assert json.loads(capsys.readouterr().out) == daemon.answer


async def test_a_named_asset_without_a_problem_is_a_failure(daemon: Daemon) -> None:
    daemon.answer = {"retried": 0, "waiting": 0, "changed": 0}
    assert await run(daemon, "retry", ASSET) == 1
    assert await run(daemon, "retry", "--all") == 0
    assert await run(daemon, "show", ASSET) == 1


async def test_a_list_says_when_there_is_more(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.problems = 3
    assert await run(daemon, "list", "--limit", "2") == 0
    shown = capsys.readouterr()
    assert shown.out.count(ASSET) == 2
    assert shown.err == "lumilio: only the newest 2 are shown; --limit N shows more, --all shows all\n"
    assert await run(daemon, "list", "--all", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [item["step"] for item in document["items"]] == ["0", "1", "2"]
    assert (document["next_cursor"], document["counts"][0]["problems"]) == (None, 3)
    daemon.problems = 0
    assert await run(daemon, "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"items": [], "next_cursor": None, "counts": []} | {
        "counts": [{"code": "media.damaged", "step": "render", "problems": 0}]
    }
    assert await run(daemon, "list", "--tool", "libraw") == 0
    assert capsys.readouterr().out == "no problems fit\n"


async def test_a_daemon_that_is_away_is_unreachable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "daemon.json").write_text(json.dumps({"url": "http://127.0.0.1:9", "token": "t"}))
    assert await run(Daemon(data=tmp_path), "list") == 2
    assert capsys.readouterr().err.startswith("lumilio: the daemon at http://127.0.0.1:9 cannot be reached")


@pytest.mark.parametrize(
    "arguments",
    [
        ["retry"],
        ["ignore", "--dry-run"],
        ["retry", "12"],
        ["retry", "--all", ASSET],
        ["ignore", "--all", "--code", "x"],
        ["list", "--limit", "0"],
        ["list", "--limit", "5", "--all"],
        ["list", "--code", "no code"],
        ["list", "--kind", "document"],
        ["show"],
        ["retry", *(str(number).zfill(32) for number in range(1001))],
    ],
)
def test_a_command_that_means_nothing_is_refused(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refused:
        args = parse(*arguments)
        args.data = tmp_path
        args.run(args)
    assert refused.value.code == 2
