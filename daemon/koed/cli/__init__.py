"""The command line: `koed`."""

from __future__ import annotations


def main(argv: list[str] | None = None) -> int:
    """What the console script and ``python -m koed.cli`` run; the exit status."""
    from koed.cli import commands

    return commands.main(argv)
