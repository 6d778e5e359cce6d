"""A real `systemd --user` in namespaces of its own, on any Linux where we are root.

PID 1 may be anything. The manager gets a private /run, a private cgroup and a private PID
namespace, and everything in it dies with the rig.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

# What runs inside: $1 = folder of the units, $2 = our cgroup, $3 = log file of the manager. The
# manager is a child, not PID 1, because a user manager refuses to be that; this shell reaps.
INSIDE = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/0
chmod 700 /run/user/0
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$2"
echo $$ >"/sys/fs/cgroup/$2/cgroup.procs"
unset DBUS_SESSION_BUS_ADDRESS NOTIFY_SOCKET WATCHDOG_USEC PULSE_SERVER
export SYSTEMD_IGNORE_CHROOT=1 # a build farm may have put us into one
export XDG_RUNTIME_DIR=/run/user/0 SYSTEMD_UNIT_PATH="$1:" HOME=/run/home
export XDG_CONFIG_HOME=/run/home/.config XDG_STATE_HOME=/run/home/.state
export XDG_CACHE_HOME=/run/home/.cache
for manager in /usr/lib/systemd/systemd /lib/systemd/systemd; do
  [ -x $manager ] && break
done
$manager --user --log-target=console --log-level=info >"$3" 2>&1 </dev/null &
read -r end || true # until the rig closes our input
kill %1 2>/dev/null || true
"""

INSIDE_ENVIRON = ("XDG_RUNTIME_DIR=/run/user/0", "SYSTEMD_IGNORE_CHROOT=1")


def obstacle() -> str:
    """Why no rig can be had here, in one sentence; empty if it can."""
    if os.geteuid() != 0:
        return "a user manager of its own needs root (mount and PID namespaces, a cgroup)"
    probe = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c",
         "mount --make-rprivate / && mount -t tmpfs none /run && mount -t cgroup2 none /mnt"
         " && mkdir /mnt/$$-koed-probe && rmdir /mnt/$$-koed-probe"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    if probe.returncode != 0:
        return f"this sandbox forbids namespaces or cgroups: {probe.stderr.strip()}"
    return ""


class Rig:
    """``units``: a folder with units and their ``.d`` drop-ins, read by the manager."""

    def __init__(self, units: Path, log: Path) -> None:
        self.units = units
        self.log = log
        self._cgroup = f"koed-test-{os.getpid()}-{time.monotonic_ns()}"
        self._outside = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child",
             "bash", "-c", INSIDE, "rig", str(units), self._cgroup, str(log)],
            stdin=subprocess.PIPE,
        )  # fmt: skip
        try:
            self._wait_for_manager()
        except BaseException:
            self.close()
            raise

    def _wait_for_manager(self) -> None:
        deadline = time.monotonic() + 60
        state = ""
        while state != "running":
            if time.monotonic() > deadline or self._outside.poll() is not None:
                log = self.log.read_text() if self.log.exists() else ""
                raise RuntimeError(f"systemd --user did not start ({state!r}):\n{log}")
            time.sleep(0.05)
            with contextlib.suppress(OSError, IndexError):  # not forked yet
                state = self.systemctl("is-system-running", check=False).strip()

    def _inside(self) -> str:
        """PID of the shell inside, as seen from here."""
        pid = self._outside.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]

    def run(self, *command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """A program inside, whatever its exit status."""
        inside = self._inside()
        return subprocess.run(
            ["nsenter", "-t", inside, "-m", "-p", "-r", "env", *INSIDE_ENVIRON, *command],
            capture_output=True, text=True, check=False, timeout=timeout_s,
        )  # fmt: skip

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        done = self.run("systemctl", "--user", "--no-pager", *arguments)
        if check and done.returncode != 0:
            raise AssertionError(f"systemctl {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout

    def show(self, unit: str, name: str) -> str:
        return self.systemctl("show", "--value", f"--property={name}", unit).strip()

    def processes(self, unit: str) -> list[str]:
        """The programs of all that runs in the unit."""
        group = self.show(unit, "ControlGroup")
        if not group:
            return []
        found = self.run("cat", f"/sys/fs/cgroup{group}/cgroup.procs").stdout.split()
        lines = [self.run("cat", f"/proc/{pid}/cmdline").stdout for pid in found]
        return [line.split("\0")[0] for line in lines]

    def wait_for(self, unit: str, deadline_s: float = 60, **wanted: str) -> None:
        """Until the unit's properties are as wanted."""
        deadline = time.monotonic() + deadline_s
        while True:
            found = {name: self.show(unit, name) for name in wanted}
            if found == wanted:
                return
            if time.monotonic() > deadline:
                status = self.systemctl("status", unit, check=False)
                raise AssertionError(f"{unit}: {found}, not {wanted}\n{status}")
            time.sleep(0.05)

    def close(self) -> None:
        if self._outside.stdin is not None:
            self._outside.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._outside.wait(timeout=10)
        self._outside.kill()  # --kill-child takes the namespace with it
        self._outside.wait()
        for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
            _remove_cgroup(Path(mount, self._cgroup))


def _remove_cgroup(group: Path) -> None:
    deadline = time.monotonic() + 5
    while group.is_dir() and time.monotonic() < deadline:
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):  # busy until the last process is reaped
                os.rmdir(folder)
        if group.is_dir():
            time.sleep(0.05)
