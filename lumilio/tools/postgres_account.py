"""As whom the cluster's programs run: PostgreSQL refuses root, and root's checkout may be closed to everybody else."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lumilio.errors import ClusterFailed, ToolMissing

_SERVICE_USER = "nobody"
_CHECK_TIMEOUT = 20.0
# From linux/capability.h. Reading and traversing is enough; containers often withhold it but grant the wider one.
_TRAVERSING_CAPABILITIES = (("dac_read_search", 2), ("dac_override", 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccount:
    """The operating-system user of ``postgres``; ``client`` is the user that connects to it."""

    uid: int
    gid: int
    name: str
    client: str
    switches: bool
    """Whether programs must change to this user: true when Lumilio runs as root."""


def cluster_account() -> ClusterAccount:
    """The caller itself, or ``nobody`` when that is root. Raises ClusterFailed when the user has no name."""
    if os.geteuid() != 0:
        try:
            name = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            raise ClusterFailed(
                f"user id {os.geteuid()} has no name, and PostgreSQL refuses nameless users; add it to /etc/passwd"
            ) from None
        return ClusterAccount(uid=os.geteuid(), gid=os.getegid(), name=name, client=name, switches=False)
    try:
        entry, root = pwd.getpwnam(_SERVICE_USER), pwd.getpwuid(0)
    except KeyError:
        raise ClusterFailed(
            f"PostgreSQL refuses root and there is no user {_SERVICE_USER!r} to run it as; add that user, or start "
            "Lumilio as an ordinary one"
        ) from None
    return ClusterAccount(uid=entry.pw_uid, gid=entry.pw_gid, name=entry.pw_name, client=root.pw_name, switches=True)


def launcher(account: ClusterAccount, programs: Path, directory: Path) -> list[str]:
    """The words before a program's name that make it run as ``account`` and get SIGINT when its parent dies.

    SIGINT is PostgreSQL's fast shutdown: a clean end with a checkpoint, so that the next start needs no recovery.
    The kernel sends it when the *thread* that forked ends: call the program from the event loop's thread.

    Under a closed ancestor (a checkout in /root, mode 0700) an unprivileged user reaches neither the programs nor
    the data. No mode is changed for that; the processes get the one capability to traverse directories. PostgreSQL
    looks for itself by access(2), which ignores capabilities of a non-root user unless ``no_setuid_fixup`` is set.
    Blocking for a few milliseconds when it has to check. Raises ToolMissing or ClusterFailed.
    """
    setpriv = shutil.which("setpriv", path="/usr/bin:/bin:/usr/sbin:/sbin") or shutil.which("setpriv")
    if setpriv is None:
        raise ToolMissing("the program 'setpriv' is not installed; run: apt install util-linux")
    dies_with_parent = ["--pdeathsig", "INT"]
    if not account.switches:
        return [setpriv, *dies_with_parent, "--"]
    switch = [setpriv, f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
    closed = _closed_path([*switch, "--"], [programs, directory])
    if closed is None:
        return [*switch, *dies_with_parent, "--"]
    capability = _traversing_capability()
    if capability is None:
        raise ClusterFailed(
            f"PostgreSQL refuses root and runs as {account.name!r}, but that user cannot reach {str(closed)!r}, and "
            "this container has neither CAP_DAC_READ_SEARCH nor CAP_DAC_OVERRIDE to grant; move it to a directory that "
            "others may enter, or start Lumilio as an ordinary user"
        )
    only = f"-all,+{capability}"
    granted = [
        f"--inh-caps={only}",
        f"--ambient-caps={only}",
        f"--bounding-set={only}",
        "--securebits=+no_setuid_fixup",
    ]
    return [*switch, *granted, *dies_with_parent, "--"]


def _closed_path(switch: Sequence[str], paths: Sequence[Path]) -> Path | None:
    """The first of ``paths`` that the account cannot enter, asked from the kernel so that ACLs count as well."""
    for path in paths:
        try:
            answer = subprocess.run(
                [*switch, "test", "-x", path], timeout=_CHECK_TIMEOUT, cwd="/", stdin=subprocess.DEVNULL, check=False
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise ClusterFailed(f"cannot run programs as another user: {exc}") from exc
        if answer.returncode != 0:
            return path
    return None


def _traversing_capability() -> str | None:
    held = _capability_mask("CapPrm") & _capability_mask("CapBnd")
    return next((name for name, bit in _TRAVERSING_CAPABILITIES if held >> bit & 1), None)


def _capability_mask(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1], 16)
    return 0
