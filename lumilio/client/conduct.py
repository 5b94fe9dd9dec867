"""Run one import from the command line: find the daemon, move the files, show it, answer signals and exit codes."""

import asyncio
import signal
import time

from lumilio.client.access import Access, Credentials, find_credentials
from lumilio.client.display import Display, End, Ending, open_display
from lumilio.client.library import probe_library
from lumilio.client.pipeline import Pipeline, Plan
from lumilio.client.session import Session
from lumilio.client.tally import Tally
from lumilio.errors import ClientError

EXIT_ALL_THERE = 0
EXIT_FILES_FAILED = 1
EXIT_UNREACHABLE = 2
EXIT_INTERRUPTED = 130

_REFRESH_SECONDS = 0.2


def conduct_import(access: Access, plan: Plan, *, as_json: bool) -> int:
    """Import and return the exit code. Raises ClientError when the daemon cannot be used at all."""
    return asyncio.run(_conduct(find_credentials(access), plan, as_json=as_json))


async def _conduct(found: Credentials, plan: Plan, *, as_json: bool) -> int:
    tally = Tally()
    display: Display | None = None
    early: list[str] = []

    def notice(text: str) -> None:
        early.append(text) if display is None else display.notice(text)

    async with Session(
        url=found.url,
        data=found.data,
        login=found.login,
        patience=plan.patience,
        connections=plan.jobs + 4,
        notice=notice,
    ) as session:
        await probe_library(session)
        display = open_display(as_json=as_json)
        began = time.monotonic()
        try:
            end, error = await _run_until_signal(Pipeline(session, plan, tally, display.event), tally, display)
        finally:
            display.quiet()
    code = {
        End.FINISHED: EXIT_ALL_THERE if tally.all_there else EXIT_FILES_FAILED,
        End.INTERRUPTED: EXIT_INTERRUPTED,
        End.GIVEN_UP: EXIT_UNREACHABLE,
    }[end]
    display.summary(
        tally,
        Ending(
            end=end,
            seconds=round(time.monotonic() - began, 3),
            exit_code=code,
            dry_run=plan.dry_run,
            waited=plan.wait,
            error=error,
        ),
    )
    return code


async def _run_until_signal(pipeline: Pipeline, tally: Tally, display: Display) -> tuple[End, str]:
    """The first Ctrl-C or SIGTERM ends the import in order; a second one kills the process by the system's default."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()

    def interrupt(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
        display.quiet()
        interrupted.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, interrupt, number)
    work = asyncio.create_task(pipeline.run(), name="import")
    waiter = asyncio.create_task(interrupted.wait(), name="import.interrupted")
    try:
        while not work.done() and not interrupted.is_set():
            display.refresh(tally)
            await asyncio.wait((work, waiter), timeout=_REFRESH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
        await asyncio.wait((work,))
    finally:
        for task in (work, waiter):
            task.cancel()
        for number in numbers:
            loop.remove_signal_handler(number)
    if work.cancelled():
        return End.INTERRUPTED, ""
    match work.exception():
        case None:
            return End.FINISHED, ""
        case ClientError() as error:
            return End.GIVEN_UP, str(error)
        case error:
            raise error
