"""exiftool: one long-lived process that prints the metadata of files as JSON, many files a request.

Starting exiftool costs 160 ms of CPU, reading a file with a running one 7 to 10 ms, hence ``-stay_open``. PyExifTool
starts and ends the process; what it lacks is done here. Its own read loop never sees the end of the output: once
exiftool is killed it spins on a closed pipe for ever, so the answer is read here, with a deadline, from both pipes at
once. exiftool itself does not end when its input does, it polls; the kernel ends it when the thread that started it
is gone (PR_SET_PDEATHSIG, set by PyExifTool), which covers a daemon that was killed.

File names never reach exiftool: it sees links of our naming in a private directory, because its argument stream has
no escape for a newline and its open() has meanings for other characters.
"""

import asyncio
import json
import math
import os
import queue
import resource
import selectors
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import exiftool

from lumilio.errors import ToolError, ToolMissing, ToolTimedOut
from lumilio.tools.process import output_of

INSTALL = "apt-get install libimage-exiftool-perl"
"""The command that installs exiftool on Debian."""

_BATCH = 20
_ARGUMENTS = [
    "-json",
    "-n",
    "-G1",
    "-struct",
    "-charset",
    "filename=utf8",
    "-api",
    "largefilesupport=1",
    "--System:all",
]
_OUTPUT_LIMIT = 64 * 1024 * 1024
_FACTS_LIMIT = 256 * 1024
_MEMORY_LIMIT = 1024 * 1024 * 1024
_BURIAL_SECONDS = 5.0
_SLACK_SECONDS = 5.0
_STOPPED = "exiftool has been stopped"
_ODD_ANSWERS = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
    RuntimeError,
    exiftool.exceptions.ExifToolException,
)


async def version() -> str:
    """The version of the installed exiftool, such as ``12.57``. Raises ToolMissing, ToolTimedOut and ToolError."""
    return (await output_of("exiftool", "-config", "", "-ver", install=INSTALL)).strip()


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """A file to read, and where its metadata goes."""

    path: Path
    extension: str
    result: "Future[dict[str, object]]" = field(default_factory=Future)


class ExifTool:
    """``read`` files with one exiftool; calls that meet are answered together, up to 20 in a request.

    The queue has no bound of its own: it holds one entry a caller, and callers are job slots. A batch that does not
    come back within ``timeout`` seconds, or kills exiftool, is read again file by file, so that only the file at fault
    fails.
    """

    def __init__(self, *, timeout: float = 30.0) -> None:
        self._timeout = timeout
        self._reader: _Reader | None = None

    async def __aenter__(self) -> Self:
        """Start the thread; exiftool itself starts with the first file, and may be installed until then."""
        self._reader = _Reader(self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()
            await asyncio.wait({asyncio.wrap_future(reader.ended)}, timeout=_BURIAL_SECONDS + _SLACK_SECONDS)

    async def read(self, path: Path, *, name_hint: str) -> dict[str, object]:
        """The metadata of a file: keys like ``IFD0:Make``, numbers unconverted, safe to keep as PostgreSQL jsonb.

        Only the extension of ``name_hint`` is used, to tell apart formats that share a container. Left out are what
        tells about the server (file name, directory, permissions, times), binary values, and, beyond 256 KiB of JSON,
        the largest values. A file of unknown or damaged content has an ``ExifTool:Error`` instead of raising.

        Raises ToolMissing while exiftool is not installed, ToolTimedOut or ToolError when it hung or died on this file
        twice.
        """
        reader = self._reader
        if reader is None:
            raise ToolError(_STOPPED)
        request = _Request(path=path, extension=_safe_extension(name_hint))
        reader.requests.put(request)
        answer = asyncio.wrap_future(request.result)
        longest = self._timeout + _BURIAL_SECONDS + _SLACK_SECONDS
        turn = -1
        try:
            while not (await asyncio.wait({answer}, timeout=longest))[0]:
                if turn == reader.turn:
                    self._replace(reader)
                    if not request.result.cancel():
                        raise ToolTimedOut("the thread of exiftool hung on the file and was replaced")
                    return await self.read(path, name_hint=name_hint)
                turn = reader.turn
            return answer.result()
        finally:
            answer.cancel()

    def _replace(self, lost: "_Reader") -> None:
        """A thread that hangs in the kernel, as one does that starts a program from a dead disk, cannot be ended."""
        if self._reader is lost:
            self._reader = _Reader(self._timeout)
            lost.stop()


class _Reader:
    """The thread that owns one exiftool at a time. ``turn`` counts its steps, none of which takes long."""

    def __init__(self, timeout: float) -> None:
        self.requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self.ended: Future[None] = Future()
        self.turn = 0
        self._timeout = timeout
        self._session: _Session | None = None
        self._unburied: list[subprocess.Popen[bytes]] = []
        self._links: Path | None = None
        self._numbers = count(1)
        self._stopping = False
        threading.Thread(target=self._work, name="exiftool", daemon=True).start()

    def stop(self) -> None:
        """End exiftool at its work, and the thread with it; requests that are left are refused."""
        self._stopping = True
        self.requests.put(None)
        if (session := self._session) is not None:
            session.kill()

    def _work(self) -> None:
        """Take what has queued up, answer it, until told to stop."""
        try:
            while not self._stopping and (first := self.requests.get()) is not None:
                self._answer([request for request in self._gather(first) if _claim(request)])
        finally:
            self._end_session()
            self._refuse_rest()
            if self._links is not None:
                shutil.rmtree(self._links, ignore_errors=True)
            self.ended.set_result(None)

    def _gather(self, first: _Request) -> list[_Request]:
        batch = [first]
        while len(batch) < _BATCH and not self.requests.empty():
            request = self.requests.get()
            if request is None:
                self.requests.put(None)
                break
            batch.append(request)
        return batch

    def _refuse_rest(self) -> None:
        while not self.requests.empty():
            request = self.requests.get()
            if request is not None and _claim(request):
                request.result.set_exception(ToolError(_STOPPED))

    def _answer(self, batch: list[_Request]) -> None:
        """Answer every request of the batch; read its files one by one if they cannot be read together."""
        try:
            if batch:
                self._try(batch)
        except ToolMissing as exc:
            for request in batch:
                request.result.set_exception(ToolMissing(str(exc)))
        except ToolError:
            for request in batch:
                self._answer_alone(request)
        finally:
            for request in batch:
                if not request.result.done():
                    request.result.set_exception(ToolError("the thread of exiftool came to an end"))

    def _answer_alone(self, request: _Request) -> None:
        try:
            self._try([request])
        except ToolError as exc:
            request.result.set_exception(exc)

    def _try(self, batch: list[_Request]) -> None:
        """One request to exiftool. Raises ToolError when none of the batch got an answer."""
        self.turn += 1
        if self._stopping:
            raise ToolError(_STOPPED)
        links: dict[str, _Request] = {}
        try:
            for request in batch:
                link = str(self._directory() / f"{next(self._numbers)}{request.extension}")
                Path(link).symlink_to(request.path.absolute())
                links[link] = request
            found = self._session_of_now().metadata(list(links), time.monotonic() + self._timeout)
            cleaned = {link: _cleaned(found[link]) for link in links if link in found}
        except ToolError:
            self._end_session()
            raise
        except _ODD_ANSWERS as exc:
            self._end_session()
            raise ToolError(f"exiftool gave no usable answer: {exc}") from exc
        finally:
            for link in links:
                Path(link).unlink(missing_ok=True)
        for link, request in links.items():
            if link in cleaned:
                request.result.set_result(cleaned[link])
            else:
                request.result.set_exception(ToolError("exiftool said nothing about the file"))

    def _directory(self) -> Path:
        if self._links is None:
            self._links = Path(tempfile.mkdtemp(prefix="lumilio-exiftool-"))
        return self._links

    def _session_of_now(self) -> "_Session":
        if self._session is None or not self._session.running:
            self._end_session()
            self._session = _Session()
            if self._stopping:  # ``stop`` may have come too early to see it
                raise ToolError(_STOPPED)
        return self._session

    def _end_session(self) -> None:
        """What does not die at once is left to itself, and asked after whenever another one ends."""
        session, self._session = self._session, None
        if session is not None:
            self._unburied.append(session.end())
        self._unburied = [process for process in self._unburied if process.poll() is None]


def _claim(request: _Request) -> bool:
    """False when the caller has given up meanwhile; from here on its giving up changes nothing."""
    return request.result.set_running_or_notify_cancel()


def _safe_extension(name: str) -> str:
    """``.nef`` of ``IMG 1.NEF``; nothing when the extension is not plain."""
    suffix = Path(name).suffix.lower()
    return suffix if len(suffix) <= 8 and suffix[1:].isascii() and suffix[1:].isalnum() else ""


class _Unasked(exiftool.ExifTool):  # type: ignore[misc]  # PyExifTool has no types
    """Without the question for the version that PyExifTool begins with and waits for without an end."""

    def _parse_ver(self) -> str:
        return ""


class _Session:
    """One running exiftool."""

    def __init__(self) -> None:
        """Raises ToolMissing, OSError and RuntimeError."""
        try:
            self._tool = _Unasked(common_args=_ARGUMENTS, config_file="", encoding="utf-8")
            self._tool.run()
        except (FileNotFoundError, PermissionError) as exc:
            raise ToolMissing(f"'exiftool' is not installed; install it with: {INSTALL}") from exc
        self._process: Any = self._tool._process  # what PyExifTool offers around it waits without an end
        self._numbers = count(1)
        for limit, value in (
            (resource.RLIMIT_AS, _MEMORY_LIMIT),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.prlimit(self._process.pid, limit, (value, value))

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def metadata(self, paths: list[str], deadline: float) -> dict[str, Mapping[str, object]]:
        """What exiftool prints of each path. Raises ToolTimedOut, ToolError, OSError and ValueError."""
        number = next(self._numbers)
        request = "".join(f"{line}\n" for line in (*paths, "-echo4", f"{{end{number}}}", f"-execute{number}"))
        self._process.stdin.write(request.encode())
        self._process.stdin.flush()
        printed = self._printed(f"{{ready{number}}}\n".encode(), f"{{end{number}}}\n".encode(), deadline)
        if not printed.strip():
            return {}
        parsed = json.loads(
            printed.decode(errors="replace"),
            parse_constant=lambda _: None,
            parse_float=_finite,
            parse_int=_bounded,
        )
        return {str(entry["SourceFile"]): entry for entry in parsed}

    def _printed(self, ready: bytes, end: bytes, deadline: float) -> bytes:
        """Standard output up to the mark that ends a request. Standard error is drained up to its mark and dropped:
        a full pipe would stop exiftool, and what matters of it is in ``ExifTool:Error`` and ``:Warning``."""
        out, err = self._process.stdout.fileno(), self._process.stderr.fileno()
        printed = {out: bytearray(), err: bytearray()}
        marks = {out: ready, err: end}
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            selector.register(err, selectors.EVENT_READ)
            while selector.get_map():
                events = selector.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    raise ToolTimedOut("exiftool did not answer in time and was killed")
                for key, _ in events:
                    chunk = os.read(key.fd, 1 << 18)
                    if not chunk:
                        raise ToolError(f"exiftool died (status {self._process.poll()})")
                    printed[key.fd] += chunk
                    if printed[key.fd].endswith(marks[key.fd]):
                        selector.unregister(key.fd)
                    elif len(printed[key.fd]) > _OUTPUT_LIMIT:
                        raise ToolError(f"exiftool printed more than {_OUTPUT_LIMIT >> 20} MiB")
        return bytes(printed[out].removesuffix(ready))

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> "subprocess.Popen[bytes]":
        """Kill it and return the process, which lives on where the kernel cannot end it, as on a dead disk.

        exiftool only reads, so there is nothing that it could leave half done.
        """
        process: subprocess.Popen[bytes] = self._process
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_BURIAL_SECONDS)
        for pipe in (self._process.stdout, self._process.stderr):
            pipe.close()
        self._tool._flag_running_false()
        return process


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _bounded(text: str) -> int | str:
    """Digits that a 64-bit integer cannot hold are an identifier, not a number."""
    return int(text) if len(text) <= 18 else text


def _cleaned(entry: Mapping[str, object]) -> dict[str, object]:
    """What of exiftool's output is kept: nothing of the server, nothing binary, nothing that jsonb refuses."""
    kept = {_text(key): _plain(value) for key, value in entry.items() if _is_about_content(key, value)}
    size = len(json.dumps(kept))
    for key in sorted(kept, key=lambda each: len(json.dumps(kept[each])), reverse=True) if size > _FACTS_LIMIT else ():
        size -= len(json.dumps(key)) + len(json.dumps(kept.pop(key))) + 4
        if size <= _FACTS_LIMIT:
            break
    return kept


def _is_about_content(key: str, value: object) -> bool:
    return key != "SourceFile" and not key.startswith("System:") and not _is_binary(value)


def _is_binary(value: object) -> bool:
    """exiftool's stand-in for a binary value, such as ``(Binary data 5412 bytes, use -b option to extract)``."""
    return isinstance(value, str) and value.startswith("(Binary data ") and value.endswith(" to extract)")


def _plain(value: object) -> object:
    rules: dict[type, Callable[[Any], object]] = {
        str: _text,
        list: lambda items: [_plain(item) for item in items if not _is_binary(item)],
        dict: lambda items: {_text(key): _plain(item) for key, item in items.items() if not _is_binary(item)},
    }
    rule = rules.get(type(value))
    return rule(value) if rule else value


def _text(value: str) -> str:
    """Without NUL and lone surrogates, which PostgreSQL's jsonb refuses."""
    return value.replace("\0", "").encode("utf-8", "replace").decode()
