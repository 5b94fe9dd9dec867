"""Short-lived external programs: run one, bounded in time and output, and return what it printed."""

import asyncio
import contextlib
import os
import signal

from lumilio.errors import ToolError, ToolMissing, ToolTimedOut

_OUTPUT_LIMIT = 1 << 20
_BURIAL_SECONDS = 5.0


async def output_of(*argv: str, install: str, timeout: float = 10.0) -> str:
    """Run a program without standard input and return its standard output.

    ``install`` is the command that installs the program, for the message when it is absent. The program gets a
    session of its own, so that a time-out or a cancellation ends its children too.

    Raises ToolMissing, ToolTimedOut, and ToolError with the program's last words for a non-zero exit status.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError) as exc:
        raise ToolMissing(f"{argv[0]!r} cannot be run ({exc.strerror}); install it with: {install}") from exc
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate()
    except TimeoutError as exc:
        raise ToolTimedOut(f"{argv[0]!r} did not answer within {timeout:g} s and was killed") from exc
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(TimeoutError):  # one that hangs in the kernel, as on a dead disk, does not die
                async with asyncio.timeout(_BURIAL_SECONDS):
                    await process.wait()
    if process.returncode != 0:
        words = err.decode(errors="replace").strip()[-500:]
        raise ToolError(f"{argv[0]!r} ended with status {process.returncode}: {words}")
    return out[:_OUTPUT_LIMIT].decode(errors="replace")
