"""exiftool: some long-lived processes that print the metadata of files as JSON, many files a request.

Starting exiftool costs 160 ms of CPU, reading a file with a running one 7 to 10 ms, hence ``-stay_open``. The answer is
read here, with a deadline, from both pipes at once. PyExifTool would start and end the process, but runs Python code
between fork and exec, which may hang in a process with threads, leaves no place for the fence, and spins for ever on
the closed pipe of an exiftool that was killed.

File names never reach exiftool: it sees links of our naming in a private directory, because its argument stream has
no escape for a newline and its open() has meanings for other characters.
"""

import asyncio
import errno
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from lumilio.errors import DiskFull, LumilioError, ToolError, ToolMissing, ToolTimedOut
from lumilio.tools.exiftool_output import cleaned
from lumilio.tools.exiftool_session import INSTALL, Session
from lumilio.tools.process import output_of

__all__ = ("INSTALL", "ExifTool", "version")

_BATCH = 20
_BURIAL_SECONDS = 5.0
_SLACK_SECONDS = 5.0
_STOPPED = "exiftool has been stopped"
_ODD_ANSWERS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
_FULL = (errno.ENOSPC, errno.EDQUOT)


async def version() -> str:
    """The version of the installed exiftool, such as ``12.57``. Raises ToolMissing, ToolTimedOut and ToolError."""
    return (await output_of("exiftool", "-config", "", "-ver", install=INSTALL)).strip()


@dataclass(slots=True, eq=False)
class _Request:
    """A file to read, where its metadata goes, and who has taken it."""

    path: Path
    extension: str
    result: "Future[dict[str, object]]" = field(default_factory=Future)
    reader: "_Reader | None" = None

    def claim(self, reader: "_Reader") -> bool:
        """False when the caller has given up meanwhile; from here on its giving up changes nothing."""
        self.reader = reader
        return self.result.set_running_or_notify_cancel()

    def fail(self, error: LumilioError) -> None:
        with suppress(InvalidStateError):
            self.result.set_exception(error)


class ExifTool:
    """``read`` files with up to ``processes`` exiftools; calls that meet are answered together, up to 20 in a request.

    The queue has no bound of its own: it holds one entry a caller, and callers are job slots. A batch that does not
    come back within ``timeout`` seconds, or kills exiftool, is read again file by file, so that only the file at fault
    fails.
    """

    def __init__(self, *, timeout: float = 30.0, processes: int = 1) -> None:
        self._timeout = timeout
        self._processes = processes
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._readers: list[_Reader] = []

    async def __aenter__(self) -> Self:
        """Be ready; exiftool itself starts with the first file, and may be installed until then."""
        self._readers = [self._reader() for _ in range(self._processes)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.stop()
        self._refuse_rest()
        if readers:
            self._requests.put(None)
            ends = [asyncio.wrap_future(reader.ended) for reader in readers]
            await asyncio.wait(ends, timeout=_BURIAL_SECONDS + _SLACK_SECONDS)

    async def read(self, path: Path, *, name_hint: str) -> dict[str, object]:
        """The metadata of a file: keys like ``IFD0:Make``, numbers unconverted, safe to keep as PostgreSQL jsonb.

        Only the extension of ``name_hint`` is used, to tell apart formats that share a container. Left out are what
        tells about the server (file name, directory, permissions, times), binary values, and, beyond 256 KiB of JSON,
        the largest values. A file of unknown or damaged content has an ``ExifTool:Error`` instead of raising.

        Raises ToolMissing while exiftool is not installed, ToolTimedOut or ToolError when it hung or died on this file
        twice, and DiskFull when there is no room for a link on the disk of temporary files.
        """
        if not self._readers:
            raise ToolError(_STOPPED)
        request = _Request(path=path, extension=_safe_extension(name_hint))
        self._requests.put(request)
        answer = asyncio.wrap_future(request.result)
        longest = self._timeout + _BURIAL_SECONDS + _SLACK_SECONDS
        try:
            while not (await asyncio.wait({answer}, timeout=longest))[0]:
                self._replace_lost(longest)
                if request.reader is not None and request.reader.stopping:
                    raise ToolTimedOut("the thread of exiftool hung on the file and was replaced")
            return answer.result()
        finally:
            answer.cancel()

    def renew(self) -> None:
        """Start exiftool anew before the next files: it was upgraded, and what runs is the old one."""
        for reader in self._readers:
            reader.outdated = True

    def _refuse_rest(self) -> None:
        with suppress(queue.Empty):
            while True:
                request = self._requests.get_nowait()
                if request is not None and request.result.set_running_or_notify_cancel():
                    request.fail(ToolError(_STOPPED))

    def _replace_lost(self, longest: float) -> None:
        """A thread that hangs in the kernel, as one does that starts a program from a dead disk, cannot be ended."""
        for reader in list(self._readers):
            if reader.has_hung_for(longest - _SLACK_SECONDS / 2):
                self._readers[self._readers.index(reader)] = self._reader()
                reader.stop()

    def _reader(self) -> "_Reader":
        return _Reader(self._requests, timeout=self._timeout, sharers=self._processes)


class _Reader:
    """A thread that owns one exiftool at a time, and takes its share of the requests that wait."""

    def __init__(self, requests: "queue.SimpleQueue[_Request | None]", *, timeout: float, sharers: int) -> None:
        self.ended: Future[None] = Future()
        self.stopping = False
        self.outdated = False
        self._requests = requests
        self._sharers = sharers
        self._timeout = timeout
        self._busy_since: float | None = None
        self._session: Session | None = None
        self._unburied: list[subprocess.Popen[bytes]] = []
        self._links: Path | None = None
        self._numbers = count(1)
        threading.Thread(target=self._work, name="exiftool", daemon=True).start()

    def has_hung_for(self, seconds: float) -> bool:
        """Whether the step that it is at has taken so long, which no step does by itself."""
        since = self._busy_since
        return since is not None and time.monotonic() - since >= seconds

    def stop(self) -> None:
        """End exiftool at its work, and the thread once something comes; what is left in the queue is not its own."""
        self.stopping = True
        if (session := self._session) is not None:
            session.kill()

    def _work(self) -> None:
        """Take what has queued up, answer it, until told to stop: None, which is passed on, wakes those that wait."""
        try:
            while not self.stopping:
                if (first := self._requests.get()) is not None:
                    self._answer([request for request in self._gather(first) if request.claim(self)])
        finally:
            self._requests.put(None)
            self._end_session()
            self._remove_directory()
            self.ended.set_result(None)

    def _gather(self, first: _Request) -> list[_Request]:
        """The first and what waits behind it, but for the share of the other readers."""
        batch = [first]
        share = min(_BATCH, 1 + self._requests.qsize() // self._sharers)
        while len(batch) < share:
            with suppress(queue.Empty):
                if (request := self._requests.get_nowait()) is not None:
                    batch.append(request)
                    continue
            break
        return batch

    def _answer(self, batch: list[_Request]) -> None:
        """Answer every request of the batch; read its files one by one if they cannot be read together."""
        try:
            if batch:
                self._try(batch)
        except (ToolMissing, DiskFull) as exc:
            for request in batch:
                request.fail(type(exc)(str(exc)))
        except ToolError:
            for request in batch:
                self._answer_alone(request)
        finally:
            self._busy_since = None
            for request in batch:
                request.fail(ToolError("the thread of exiftool came to an end"))

    def _answer_alone(self, request: _Request) -> None:
        try:
            self._try([request])
        except (ToolError, DiskFull) as exc:
            request.fail(exc)

    def _try(self, batch: list[_Request]) -> None:
        """One request to exiftool. Raises ToolError when none of the batch got an answer, and DiskFull."""
        self._busy_since = time.monotonic()
        if self.stopping:
            raise ToolError(_STOPPED)
        links: dict[str, _Request] = {}
        try:
            self._link(batch, links)
            found = self._session_of_now().metadata(list(links), time.monotonic() + self._timeout)
            kept = {link: cleaned(found[link]) for link in links if link in found}
        except ToolError:
            self._end_session()
            raise
        except OSError as exc:
            self._end_session()
            raise ToolError(f"exiftool cannot be asked: {exc.strerror}") from exc
        except _ODD_ANSWERS as exc:
            self._end_session()
            raise ToolError(f"exiftool gave no usable answer: {exc}") from exc
        finally:
            for link in links:
                with suppress(OSError):
                    Path(link).unlink()
        for link, request in links.items():
            if link in kept:
                with suppress(InvalidStateError):
                    request.result.set_result(kept[link])
            else:
                request.fail(ToolError("exiftool said nothing about the file"))

    def _link(self, batch: list[_Request], links: dict[str, _Request]) -> None:
        """Put links to the files into ``links``. Raises DiskFull and ToolError, which tell no path of the server's."""
        try:
            for request in batch:
                link = str(self._directory() / f"{next(self._numbers)}{request.extension}")
                Path(link).symlink_to(request.path.absolute())
                links[link] = request
        except OSError as exc:
            if exc.errno in _FULL:
                raise DiskFull("no space is left on the disk of temporary files; free some of it") from exc
            self._remove_directory()  # whatever clears away temporary files may have been there before
            raise ToolError(f"exiftool cannot be handed the file: {exc.strerror}") from exc

    def _directory(self) -> Path:
        if self._links is None:
            self._links = Path(tempfile.mkdtemp(prefix="lumilio-exiftool-"))
        return self._links

    def _remove_directory(self) -> None:
        if self._links is not None:
            shutil.rmtree(self._links, ignore_errors=True)
        self._links = None

    def _session_of_now(self) -> Session:
        if self._session is None or self.outdated or not self._session.running:
            self.outdated = False
            self._end_session()
            self._session = Session()
            if self.stopping:  # ``stop`` may have come too early to see it
                raise ToolError(_STOPPED)
        return self._session

    def _end_session(self) -> None:
        """What does not die at once is left to itself, and asked after whenever another one ends."""
        session, self._session = self._session, None
        if session is not None:
            self._unburied.append(session.end(_BURIAL_SECONDS))
        self._unburied = [process for process in self._unburied if process.poll() is None]


def _safe_extension(name: str) -> str:
    """``.nef`` of ``IMG 1.NEF``; nothing when the extension is not plain."""
    suffix = Path(name).suffix.lower()
    return suffix if len(suffix) <= 8 and suffix[1:].isascii() and suffix[1:].isalnum() else ""
