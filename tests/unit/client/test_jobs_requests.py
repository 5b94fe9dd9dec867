"""Asking for jobs page by page, and daemons that go away in the middle."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from lumilio.cli import main
from lumilio.client.jobs import MOST_COUNTED, Counted, Selection, count_live, read_pages
from lumilio.client.session import Session


@dataclass
class Daemon:
    """Lists ``jobs`` jobs as the daemon does; cancelling takes the next of ``answers`` and breaks off without one."""

    data: Path
    jobs: int = 0
    queries: list[str] = field(default_factory=list)
    answers: deque[web.Response] = field(default_factory=deque)

    async def list(self, request: web.Request) -> web.Response:
        self.queries.append(request.query_string)
        limit, cursor = int(request.query["limit"]), int(request.query.get("cursor", self.jobs + 1))
        ids = range(cursor - 1, max(0, cursor - 1 - limit), -1)
        last = ids[-1] if ids and ids[-1] > 1 else None
        items = [{"job_id": str(job_id)} for job_id in ids]
        return web.json_response({"items": items, "next_cursor": str(last) if last else None})

    async def cancel(self, request: web.Request) -> web.Response:
        if not self.answers:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return self.answers.popleft()


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    made = Daemon(data=tmp_path)
    app = web.Application()
    app.router.add_get("/api/v1/jobs", made.list)
    app.router.add_post("/api/v1/jobs/{job_id}/cancel", made.cancel)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    document = {"url": f"http://127.0.0.1:{runner.addresses[0][1]}", "token": "t"}
    (tmp_path / "daemon.json").write_text(json.dumps(document))
    yield made
    await runner.cleanup()


@pytest.mark.parametrize(
    ("jobs", "limit", "sizes", "more"),
    [
        (0, 50, [0], False),
        (50, 50, [50], False),
        (51, 50, [50], True),
        (1200, 700, [500, 200], True),
        (1200, 5000, [500, 500, 200], False),
        (1000, None, [500, 500], False),
    ],
)
async def test_as_many_jobs_as_wanted_come_in_pages(
    daemon: Daemon, jobs: int, limit: int | None, sizes: list[int], more: bool
) -> None:
    daemon.jobs = jobs
    async with Session(data=daemon.data) as session:
        pages = [page async for page in read_pages(session, Selection(), limit=limit)]
    assert [len(page.items) for page in pages] == sizes
    assert (pages[-1].next_cursor is not None) == more
    ids = [item["job_id"] for page in pages for item in page.items]
    assert ids == [str(job_id) for job_id in range(jobs, jobs - sum(sizes), -1)]


async def test_a_selection_is_asked_for_in_every_page(daemon: Daemon) -> None:
    daemon.jobs = 501
    wanted = Selection(states=("discarded", "cancelled"), queue="files", kind="sweep_staging")
    async with Session(data=daemon.data) as session:
        assert [page async for page in read_pages(session, wanted, limit=None)]
    named = "queue=files&kind=sweep_staging"
    assert daemon.queries == [
        f"state=discarded&state=cancelled&{named}&limit=500",
        f"state=discarded&state=cancelled&{named}&limit=500&cursor=2",
    ]


async def test_only_so_many_jobs_are_counted_for_a_question(daemon: Daemon) -> None:
    async with Session(data=daemon.data) as session:
        daemon.jobs = 1234
        assert await count_live(session, Selection()) == Counted(jobs=1234)
        daemon.jobs = MOST_COUNTED + 1
        assert await count_live(session, Selection(queue="files")) == Counted(jobs=MOST_COUNTED, or_more=True)
    live = "state=available&state=scheduled&state=running&state=retryable"
    assert daemon.queries[-1].startswith(f"{live}&queue=files&limit=500")


def cancelled(job_id: str, outcome: str) -> web.Response:
    return web.json_response({"job_id": job_id, "outcome": outcome})


async def test_what_was_done_before_the_daemon_went_away_is_told(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answers.extend([cancelled("1", "cancelled"), cancelled("2", "stopping")])
    command = ["jobs", "cancel", "1", "2", "3", "--data", str(daemon.data)]
    assert await asyncio.to_thread(main, [*command, "--json"]) == 2
    output, errors = capsys.readouterr()
    outcomes = [{"job_id": "1", "outcome": "cancelled"}, {"job_id": "2", "outcome": "stopping"}]
    assert json.loads(output) == {"results": outcomes}
    assert errors.startswith("lumilio: the connection to http://127.0.0.1:")
    daemon.answers.append(cancelled("1", "\x1b[31mstopping"))
    assert await asyncio.to_thread(main, command) == 2
    assert capsys.readouterr().out == "job 1: \\x1b[31mstopping\n"


async def test_a_refusal_of_the_caller_is_no_failure_of_a_job(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = {"code": "auth.forbidden", "detail": "guests\x1b[31m may not"}
    daemon.answers.append(web.json_response(problem, status=403))
    assert await asyncio.to_thread(main, ["jobs", "cancel", "1", "--data", str(daemon.data)]) == 2
    assert "refused: guests\\x1b[31m may not (auth.forbidden)" in capsys.readouterr().err
