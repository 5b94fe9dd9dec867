"""The fence, from within: what a decoder child, or a program behind it, reaches of the outside."""

import asyncio
import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lumilio.errors import StorageError
from lumilio.tools import fence
from lumilio.tools.decoders import DecoderLimits, DecoderPool
from tests.conformance.reference import FIXTURES
from tests.integration.decoder_tasks import (
    LOADED,
    content_of,
    import_late,
    read_another,
    refusals,
    version_of_exiftool,
)

ORIGINAL = FIXTURES / "jpeg/digicamcor-POL_0136.JPG"


@pytest.fixture
async def pool() -> AsyncIterator[DecoderPool]:
    async with DecoderPool(size=1, preload=LOADED) as running:
        yield running


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[dict[str, object]]:
    """A library with secrets, and servers that listen beside it."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library/original").write_text("mine")
    (tmp_path / "library/beside").write_text("somebody else's")
    (tmp_path / "empty").mkdir()
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        unix.bind(str(tmp_path / "daemon.sock"))
        unix.listen()
        yield {
            "paths": [str(Path(__file__)), str(ORIGINAL), "/etc/passwd"],
            "spare files": [str(tmp_path / "library/original"), str(tmp_path / "library/beside")],
            "folders": [str(tmp_path), str(tmp_path / "library"), "/tmp", "/", str(Path.home())],
            "spare folders": [str(tmp_path / "empty"), str(tmp_path / "library")],
            "port": tcp.getsockname()[1],
            "socket": str(tmp_path / "daemon.sock"),
            "pid": os.getpid(),
        }


async def test_a_decoder_reaches_nothing_outside(pool: DecoderPool, outside: dict[str, object], tmp_path: Path) -> None:
    before = content_of_folder(tmp_path)

    outcomes = await pool.run(refusals, outside, timeout=30)

    assert len(outcomes) > 25
    assert [name for name, outcome in outcomes.items() if outcome == "done"] == []
    refused = {name: outcome for name, outcome in outcomes.items() if outcome not in ("PermissionError", "gaierror")}
    assert refused == {"limit": "ProcessLookupError"}
    assert content_of_folder(tmp_path) == before


def content_of_folder(folder: Path) -> dict[Path, str | None]:
    return {path: path.read_text() if path.is_file() else None for path in folder.rglob("*")}


async def test_the_same_tries_succeed_without_the_fence(outside: dict[str, object]) -> None:
    """Else the test above would prove nothing."""
    given = {**outside, "spare files": [], "spare folders": []}
    script = (
        "import json, sys\n"
        "from tests.integration.decoder_tasks import refusals\n"
        "print(json.dumps(refusals(json.loads(sys.argv[1]), harmless=True)))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, json.dumps(given), stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    out, _ = await process.communicate()

    outcomes = json.loads(out)
    for name in ("tcp", "udp", "unix", "names", "signal", "limit", "memory", f"read {ORIGINAL}"):
        assert outcomes[name] == "done", name


async def test_a_decoder_reads_the_file_that_it_was_given_and_none_beside_it(pool: DecoderPool, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "other").write_text("other")
    (tmp_path / "link").symlink_to(tmp_path / "mine")

    assert await pool.run(content_of, tmp_path / "mine", timeout=30) == b"mine"
    assert await pool.run(content_of, tmp_path / "link", timeout=30) == b"mine"
    with pytest.raises(StorageError, match="was not given to this task"):
        await pool.run(read_another, tmp_path / "mine", str(tmp_path / "other"), timeout=30)
    with pytest.raises(StorageError, match="was not given to this task"):
        await pool.run(read_another, tmp_path / "other", str(tmp_path / "mine"), timeout=30)


async def test_libraries_are_loaded_late_behind_the_fence() -> None:
    """In a child of a fork server that has none of them."""
    names = ["pillow_heif", "pillow_jxl", "pyvips", "av", "rawpy", "mutagen", "numpy", "lumilio.media"]
    async with DecoderPool(size=1, preload=["tests.integration.decoder_tasks"]) as pool:
        assert await pool.run(import_late, names, timeout=60) == {each: each for each in names}


async def test_a_decoder_runs_exiftool(pool: DecoderPool) -> None:
    assert int((await pool.run(version_of_exiftool, timeout=30)).split(".")[0]) >= 12


async def test_a_decoder_with_devices_reaches_no_more_of_the_files(outside: dict[str, object]) -> None:
    async with DecoderPool(size=1, preload=LOADED, limits=DecoderLimits(devices=True)) as pool:
        outcomes = await pool.run(refusals, outside, timeout=30)

    assert [name for name, outcome in outcomes.items() if outcome == "done"] == []


def test_the_fence_tells_what_it_is_made_of() -> None:
    parts = fence.describe()

    assert ("seccomp" in parts) == (platform.machine() in ("x86_64", "aarch64"))
    assert parts.startswith("Landlock ") or not Path("/sys/kernel/security/landlock").exists()


async def test_a_program_behind_the_fence_reads_its_roots_and_writes_nowhere(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open/file").write_text("readable")
    (tmp_path / "closed").write_text("secret")

    assert await fenced(["cat", "open/file"], tmp_path) == (0, "readable")
    assert (await fenced(["cat", "closed"], tmp_path))[0] == 1
    assert (await fenced(["touch", "open/new"], tmp_path))[0] == 1
    assert (await fenced(["rm", "open/file"], tmp_path))[0] == 1
    assert (await fenced(["perl", "-e", "use Socket; exit !socket(my $s, PF_INET, SOCK_STREAM, 0)"], tmp_path))[0] == 1
    assert (await fenced(["no-such-program"], tmp_path))[0] == 127


async def fenced(argv: list[str], folder: Path) -> tuple[int | None, str]:
    command = fence.command(argv, readable=[folder / "open"])
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode()
