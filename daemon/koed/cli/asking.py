"""What a command that makes something tells and asks before it does."""

from __future__ import annotations

import argparse
import sys


def say(args: argparse.Namespace, text: str) -> None:
    """For people; with --json on standard error, so that standard output is one line."""
    print(text, file=sys.stderr if args.json else sys.stdout, flush=True)


def agreed(args: argparse.Namespace, voices: int) -> bool:
    """Whether that many voices are to be imported: by --yes, or as a person at a terminal says."""
    if args.yes:
        return True
    if args.json or not sys.stdin.isatty():
        say(args, "nothing was done: nobody was asked; add --yes to do it")
        return False
    answer = input(f"Import {f'these {voices} voices' if voices > 1 else 'this voice'}? [y/N] ")
    if answer.strip().lower() in ("y", "yes", "j", "ja"):
        return True
    say(args, "nothing was done")
    return False
