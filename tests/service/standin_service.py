"""A service with the shape of koed, for the unit alone: ready, fed by progress, ends when told.

SIGUSR1: progress stops (the process lives on). SIGUSR2: it falls over. It also does what the unit's
hardening must still permit, before it says ready.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from types import FrameType

from koed.service.systemd import Notifier


def exercise_permissions() -> None:
    """A child program, a UNIX socket, a TCP socket, a thread, and a C library that calls back."""
    subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)
    subprocess.run(["espeak-ng", "--version"], check=True, stdout=subprocess.DEVNULL)
    socket.socket(socket.AF_UNIX).close()
    with socket.create_server(("127.0.0.1", 0)):
        pass
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    calls: list[int] = []
    numbers = (ctypes.c_int * 4)(3, 1, 2, 0)
    ctypes.CDLL(None).qsort(numbers, 4, 4, compare(lambda a, b: calls.append(1) or 0))
    if not calls:
        raise SystemExit("no callback from C")


def main() -> None:
    exercise_permissions()
    stop = threading.Event()
    stuck = threading.Event()

    def on_usr1(number: int, frame: FrameType | None) -> None:
        stuck.set()

    def on_usr2(number: int, frame: FrameType | None) -> None:
        os._exit(3)

    def on_term(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGUSR1, on_usr1)
    signal.signal(signal.SIGUSR2, on_usr2)
    signal.signal(signal.SIGTERM, on_term)
    child = subprocess.Popen(["sleep", "1000"])  # like a worker: must not outlive us
    notifier = Notifier.from_environ(os.environ)
    if notifier.watchdog_interval_s is None:
        raise SystemExit("the unit asks for no watchdog")
    print(f"ready {os.getpid()} child {child.pid} in {os.getcwd()}", flush=True)
    notifier.ready("3 voices, 1 output")
    while not stop.wait(notifier.watchdog_interval_s / 5):  # often: the machine may stand still
        if not stuck.is_set():
            notifier.watchdog()
    notifier.stopping("fading")


if __name__ == "__main__":
    main()
