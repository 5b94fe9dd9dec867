"""exiftool as it is installed, on real files and hostile names."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from lumilio.errors import ToolError, ToolMissing, ToolTimedOut
from lumilio.tools import exiftool as owner
from lumilio.tools.exiftool import ExifTool
from lumilio.tools.process import output_of
from lumilio.tools.versions import tool_versions
from tests.conformance.reference import FIXTURES, samples
from tests.integration.test_decoders import eventually_gone

PICTURE = FIXTURES / "jpeg/testassets-datetimeoriginal-gps.jpg"


@pytest.fixture
async def exiftool() -> AsyncIterator[ExifTool]:
    async with ExifTool() as running:
        yield running


def running_exiftools() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "exiftool" in " ".join(each.cmdline())]


async def test_every_tag_of_the_truth_is_read(exiftool: ExifTool) -> None:
    async with asyncio.TaskGroup() as group:
        read = [(each, group.create_task(exiftool.read(each.path, name_hint=each.path.name))) for each in samples()]

    for sample, found in read:
        tags = found.result()
        assert {key: tags.get(key) for key in sample.exif} == sample.exif, sample.name


async def test_what_is_read_can_be_kept_as_jsonb_and_tells_nothing_of_the_server(exiftool: ExifTool) -> None:
    for sample in samples():
        tags = await exiftool.read(sample.path, name_hint=sample.path.name)
        text = json.dumps(tags, allow_nan=False)
        assert len(text) <= 256 * 1024
        assert "\\u0000" not in text
        assert "SourceFile" not in tags
        assert not any(key.startswith("System:") for key in tags)
        assert str(sample.path.parent) not in text
        assert "lumilio-exiftool-" not in text
        assert "use -b option" not in text


@pytest.mark.parametrize(
    "name",
    [
        "new\nline.jpg",
        "-ver.jpg",
        "-execute\n-stay_open\nFalse.jpg",
        "pipe.jpg|",
        '"quoted" $HOME `id`.jpg',
        "é\u202e.JPG",
    ],
)
async def test_hostile_names_reach_nobody(exiftool: ExifTool, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(PICTURE.read_bytes())

    tags = await exiftool.read(path, name_hint=name)

    assert tags["Composite:GPSLongitude"] == -108


async def test_a_file_of_nothing_known_says_so_instead_of_raising(exiftool: ExifTool, tmp_path: Path) -> None:
    path = tmp_path / "random.jpg"
    path.write_bytes(bytes(range(256)) * 10)

    assert "ExifTool:Error" in await exiftool.read(path, name_hint="random.jpg")


async def test_values_that_jsonb_refuses_are_mended(exiftool: ExifTool, tmp_path: Path) -> None:
    path = tmp_path / "odd.jpg"
    path.write_bytes(PICTURE.read_bytes())
    assert await output_of("exiftool", "-Artist=tail\\x00more", "-E", str(path), install="") is not None
    large = tmp_path / "large.jpg"
    large.write_bytes(PICTURE.read_bytes())
    (tmp_path / "text").write_text("x" * 400_000)
    await output_of("exiftool", f"-XMP-dc:Description<={tmp_path / 'text'}", str(large), install="")

    odd, cut = await asyncio.gather(*(exiftool.read(each, name_hint="a.jpg") for each in (path, large)))

    assert "\0" not in str(odd)
    assert "XMP-dc:Description" not in cut
    assert cut["File:ImageWidth"] == 150


async def test_calls_that_meet_share_one_process(exiftool: ExifTool) -> None:
    await asyncio.gather(*(exiftool.read(PICTURE, name_hint="a.jpg") for _ in range(45)))

    assert len(running_exiftools()) == 1


async def test_several_processes_share_the_files_and_the_loss_of_one_costs_nothing() -> None:
    async with ExifTool(processes=2) as exiftool:
        await asyncio.gather(*(exiftool.read(PICTURE, name_hint="a.jpg") for _ in range(60)))
        processes = running_exiftools()
        assert len(processes) == 2
        assert all(process.cpu_times().user > 0 for process in processes)

        calls = [asyncio.create_task(exiftool.read(PICTURE, name_hint="a.jpg")) for _ in range(60)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        processes[0].kill()

        assert [each["File:ImageWidth"] for each in await asyncio.gather(*calls)] == [150] * 60
    for process in processes:
        await eventually_gone(process.pid)


async def test_several_processes_that_wait_for_work_are_stopped_at_once() -> None:
    started = time.monotonic()
    async with ExifTool(processes=4) as exiftool:
        await exiftool.read(PICTURE, name_hint="a.jpg")

    assert time.monotonic() - started < 10


async def test_an_exiftool_that_a_file_has_taken_over_neither_writes_nor_calls_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "exiftool"
    program.write_text(
        f"#!/bin/sh\ntouch '{tmp_path}/written'\n"
        "perl -e 'use Socket; exit !socket(my $s, PF_INET, SOCK_STREAM, 0)' && echo socket >&2\n"
        "echo I was here >&2\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    async with ExifTool() as exiftool:
        with pytest.raises(ToolError) as caught:
            await exiftool.read(PICTURE, name_hint="a.jpg")

    assert "I was here" in str(caught.value)
    assert "socket" not in str(caught.value)
    assert not (tmp_path / "written").exists()
    subprocess.run([str(program)], stderr=subprocess.DEVNULL, check=True)
    assert (tmp_path / "written").exists()


async def test_a_killed_exiftool_is_replaced_without_anybody_noticing(exiftool: ExifTool) -> None:
    await exiftool.read(PICTURE, name_hint="a.jpg")
    (process,) = running_exiftools()

    process.kill()

    assert (await exiftool.read(PICTURE, name_hint="a.jpg"))["File:ImageWidth"] == 150


async def test_an_exiftool_that_hangs_is_killed_and_the_file_read_by_a_new_one() -> None:
    async with ExifTool(timeout=1.0) as exiftool:
        await exiftool.read(PICTURE, name_hint="a.jpg")
        (process,) = running_exiftools()
        process.suspend()

        assert (await exiftool.read(PICTURE, name_hint="a.jpg"))["File:ImageWidth"] == 150
        await eventually_gone(process.pid)


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A sparse terabyte of empty PNG chunks, which exiftool reads one by one."""
    path = tmp_path / "endless.png"
    path.write_bytes((FIXTURES / "png/testassets-density_plot.png").read_bytes()[:33])
    os.truncate(path, 1 << 40)
    return path


async def test_a_file_that_stalls_exiftool_fails_alone(endless: Path) -> None:
    async with ExifTool(timeout=1.0) as exiftool:
        await exiftool.read(PICTURE, name_hint="a.jpg")
        outcomes = await asyncio.gather(
            *(exiftool.read(each, name_hint="a.jpg") for each in (PICTURE, endless, PICTURE, PICTURE)),
            return_exceptions=True,
        )

    assert [type(each) for each in outcomes] == [dict, ToolTimedOut, dict, dict]


async def test_a_cancelled_call_harms_nobody(exiftool: ExifTool) -> None:
    calls = [asyncio.create_task(exiftool.read(PICTURE, name_hint="a.jpg")) for _ in range(40)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    for call in calls[1::2]:
        call.cancel()

    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert all(isinstance(each, dict) for each in outcomes[::2])


async def test_stopping_ends_exiftool_at_its_work_and_refuses_what_comes_later(endless: Path) -> None:
    async with ExifTool() as exiftool:
        await exiftool.read(PICTURE, name_hint="a.jpg")
        (process,) = running_exiftools()
        waiting = [asyncio.create_task(exiftool.read(endless, name_hint="a.jpg")) for _ in range(3)]
        await asyncio.sleep(0)

    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in outcomes] == [ToolError] * 3
    await eventually_gone(process.pid)
    with pytest.raises(ToolError, match="stopped"):
        await exiftool.read(PICTURE, name_hint="a.jpg")


async def test_exiftool_does_not_survive_a_daemon_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "daemon.py"
    script.write_text(
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "import psutil\n"
        "from lumilio.tools.exiftool import ExifTool\n"
        "async def main():\n"
        "    async with ExifTool() as exiftool:\n"
        "        await exiftool.read(Path(sys.argv[1]), name_hint='a.jpg')\n"
        "        (child,) = psutil.Process().children()\n"
        "        print(child.pid, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(PICTURE), env=environment, stdout=subprocess.PIPE
    )
    assert daemon.stdout is not None
    async with asyncio.timeout(20):
        pid = int(await daemon.stdout.readline())

    daemon.send_signal(signal.SIGKILL)
    await daemon.wait()

    await eventually_gone(pid)


async def test_a_missing_exiftool_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ToolMissing, match="apt-get install libimage-exiftool-perl"):
        await owner.version()
    async with ExifTool() as exiftool:
        outcomes = await asyncio.gather(
            *(exiftool.read(PICTURE, name_hint="a.jpg") for _ in range(3)), return_exceptions=True
        )
        assert [type(each) for each in outcomes] == [ToolMissing] * 3
        assert "apt-get install libimage-exiftool-perl" in str(outcomes[0])


async def test_an_exiftool_that_is_removed_is_missing_and_used_again_once_it_is_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with ExifTool() as exiftool:
        await exiftool.read(PICTURE, name_hint="a.jpg")
        (process,) = running_exiftools()
        with monkeypatch.context() as without:
            without.setenv("PATH", str(tmp_path))
            process.kill()
            await eventually_gone(process.pid)
            with pytest.raises(ToolMissing):
                await exiftool.read(PICTURE, name_hint="a.jpg")

        assert (await exiftool.read(PICTURE, name_hint="a.jpg"))["File:ImageWidth"] == 150


async def test_an_exiftool_that_leaves_its_pipes_open_when_it_is_killed_is_abandoned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was started by it, and left its group, holds the other ends, as what the kernel cannot end does."""
    monkeypatch.setattr(owner, "_BURIAL_SECONDS", 0.5)
    program = tmp_path / "exiftool"
    program.write_text(f"#!/bin/sh\nsetsid tail -f '{program}' &\nexec tail -f '{program}'\n")
    program.chmod(0o755)
    try:
        async with ExifTool(timeout=0.5) as exiftool:
            with monkeypatch.context() as instead:
                instead.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
                async with asyncio.timeout(20):
                    with pytest.raises(ToolTimedOut):
                        await exiftool.read(PICTURE, name_hint="a.jpg")
    finally:
        for process in psutil.process_iter(["cmdline"]):
            if str(program) in (process.info["cmdline"] or []):
                process.kill()


async def test_an_interrupt_at_the_terminal_is_for_the_daemon_alone(exiftool: ExifTool) -> None:
    await exiftool.read(PICTURE, name_hint="a.jpg")
    (process,) = running_exiftools()

    assert os.getpgid(process.pid) == process.pid


@pytest.mark.parametrize("end", ["exec tail -f /dev/null", "exit 3"])
async def test_what_exiftool_started_dies_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: str) -> None:
    program = tmp_path / "exiftool"
    program.write_text(f"#!/bin/sh\ntail -f '{program}' >/dev/null 2>&1 &\necho started $! >&2\n{end}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    async with ExifTool(timeout=1.0) as exiftool:
        with pytest.raises(ToolError):
            await exiftool.read(PICTURE, name_hint="a.jpg")

    left = [each for each in psutil.process_iter(["cmdline"]) if str(program) in (each.info["cmdline"] or [])]
    for each in left:
        each.kill()
    assert left == []


async def test_processor_time_is_bounded_from_request_to_request() -> None:
    async with ExifTool(timeout=100.0) as exiftool:
        for _ in range(3):
            await exiftool.read(PICTURE, name_hint="a.jpg")
        (process,) = running_exiftools()

        assert 100 <= process.rlimit(psutil.RLIMIT_CPU)[0] <= 110


async def test_links_that_were_cleared_away_are_made_anew(
    exiftool: ExifTool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    await exiftool.read(PICTURE, name_hint="a.jpg")
    (folder,) = tmp_path.iterdir()
    folder.rmdir()

    assert (await exiftool.read(PICTURE, name_hint="a.jpg"))["File:ImageWidth"] == 150


async def test_a_reason_names_no_path_of_the_server(
    exiftool: ExifTool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))

    with pytest.raises(ToolError) as caught:
        await exiftool.read(PICTURE, name_hint="a.jpg")

    assert str(caught.value) == "exiftool cannot be handed the file: No such file or directory"


FULL_DISK = f"""
import asyncio, subprocess, sys, tempfile
from pathlib import Path
from lumilio.errors import DiskFull
from lumilio.tools.exiftool import ExifTool

async def main(root):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=8", "small", str(root)], check=True, timeout=20)
    tempfile.tempdir = str(root)
    async with ExifTool() as exiftool:
        await exiftool.read(Path({str(PICTURE)!r}), name_hint="a.jpg")
        try:
            for number in range(8):
                (root / str(number)).touch()
        except OSError:
            pass
        try:
            await exiftool.read(Path({str(PICTURE)!r}), name_hint="a.jpg")
        except DiskFull as exc:
            print(exc)
        (root / "0").unlink()
        print((await exiftool.read(Path({str(PICTURE)!r}), name_hint="a.jpg"))["File:ImageWidth"])

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_full_disk_of_temporary_files_is_not_the_fault_of_the_file(tmp_path: Path) -> None:
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    child = subprocess.run(
        ["unshare", "--mount", *as_root, sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[2],
    )

    assert child.stdout.splitlines() == ["no space is left on the disk of temporary files; free some of it", "150"]


class UnansweringPath(type(Path())):  # type: ignore[misc]  # the class depends on the platform
    """A path that takes the thread which asks for it, as a dead disk does."""

    __slots__ = ()
    release = threading.Event()

    def absolute(self) -> Path:
        self.release.wait(60)
        return Path(self)


async def test_a_lost_thread_is_replaced_and_costs_only_the_file_that_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "_BURIAL_SECONDS", 0.1)
    monkeypatch.setattr(owner, "_SLACK_SECONDS", 0.1)
    async with ExifTool(timeout=2.0) as exiftool:
        lost = asyncio.create_task(exiftool.read(UnansweringPath(PICTURE), name_hint="a.jpg"))
        await asyncio.wait({lost}, timeout=0.2)
        others = await asyncio.gather(*(exiftool.read(PICTURE, name_hint="a.jpg") for _ in range(3)))
        with pytest.raises(ToolTimedOut, match="replaced"):
            await lost
    UnansweringPath.release.set()

    assert [each["File:ImageWidth"] for each in others] == [150] * 3


async def test_the_version_is_told() -> None:
    major, _, minor = (await owner.version()).partition(".")

    assert int(major) >= 12
    assert minor.isdigit()


async def test_the_version_of_a_tool_tells_of_what_it_leans_on() -> None:
    versions = await tool_versions()

    number = r"\d+(\.\d+)+"
    pictures = rf"{number}, pillow-heif {number}, pillow-jxl-plugin {number}(, pyvips-binary {number})?"
    assert re.fullmatch(pictures, versions["pillow"])
    assert re.fullmatch(rf"{number}, exiftool {number}", versions["libraw"])
    assert re.match(number, versions["ffmpeg"])
    assert versions["exiftool"] == await owner.version()


async def test_without_exiftool_the_other_versions_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    versions = await tool_versions()

    assert set(versions) == {"pillow", "libraw", "ffmpeg"}
    assert "exiftool" not in versions["libraw"]


async def test_a_program_that_hangs_is_killed_and_one_that_fails_is_quoted() -> None:
    with pytest.raises(ToolTimedOut):
        await output_of("sleep", "600", install="apt-get install coreutils", timeout=0.2)
    with pytest.raises(ToolError, match=r"status 2: .*no-such-file"):
        await output_of("ls", "/no-such-file", install="apt-get install coreutils")
