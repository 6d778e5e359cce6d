"""The command line: `koe`."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """What the console script and ``python -m koe.cli`` run; the exit status."""
    from koe.cli import commands

    return commands.main(argv)
