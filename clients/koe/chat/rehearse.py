"""``koe chat rehearse``: the daemon rehearses (`koed rehearse`); this finds and runs it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from koe.transport.connection import Refused


def koed_command() -> list[str]:
    """How to run koed's own command line; raises `Refused` ``no_koed``."""
    for folder in (Path(sys.argv[0]).resolve().parent, Path(sys.executable).parent):
        program = folder / "koed"
        if program.is_file() and os.access(program, os.X_OK):
            return [os.fspath(program)]
    # found without being imported: the client knows nothing of the daemon's code
    if importlib.util.find_spec("koed") and importlib.util.find_spec("yaml"):
        return [sys.executable, "-m", "koed.cli"]
    raise Refused(
        "no_koed",
        "a rehearsal is made by the daemon's own code, and only the client is installed here",
        "pip install 'koed[daemon]', or run `koed rehearse LOG` on koed's machine",
    )


def run(args: Namespace) -> int:
    """Run `koed rehearse` with the same arguments; its exit code."""
    command = [*koed_command(), "rehearse", args.log]
    if args.config:
        command += ["--config", args.config]
    command += [name for name in ("--json", "--summary") if getattr(args, name[2:], False)]
    return subprocess.run(command, check=False).returncode
