"""IPA of clauses from the espeak-ng program.

espeak-ng is GPL: it is run as a program of its own, never linked. The text goes in by its standard
input, so no text can become an option.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from koed.errors import EngineError

HINT = "install the package espeak-ng (apt-get install espeak-ng)"
TIE = "^"
"""Stands within a sound that is written with several letters: ``t^ʃ``."""

_PROGRAM = "espeak-ng"
_TIMEOUT_S = 20.0


def ipa(clauses: Sequence[str], voice: str) -> list[str]:
    """Of each clause its words, parted by spaces; ``voice`` is the program's name of a language.

    A clause holds no marks that end one. Raises `EngineError`: ``library_missing``,
    ``espeak_failed``.
    """
    if not clauses:
        return []
    # An empty line ends a clause.
    found = _run("\n\n".join(clauses), voice)
    if len(found) == len(clauses):
        return found
    # Some clause was too long for the program, or silent to it: find it by halving.
    if len(clauses) == 1:
        return [" ".join(found)]
    middle = len(clauses) // 2
    return [*ipa(clauses[:middle], voice), *ipa(clauses[middle:], voice)]


def _run(text: str, voice: str) -> list[str]:
    command = [_PROGRAM, "-q", "--ipa", f"--tie={TIE}", "--stdin", "-v", voice]
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=_TIMEOUT_S)
    except OSError as error:
        raise EngineError("library_missing", f"espeak-ng cannot be run: {error}", HINT) from error
    except subprocess.TimeoutExpired as error:
        raise EngineError("espeak_failed", f"espeak-ng did not end in {_TIMEOUT_S:g} s") from error
    if done.returncode != 0:
        told = done.stderr.decode(errors="replace").strip()[:200]
        raise EngineError("espeak_failed", f"espeak-ng ended with {done.returncode}: {told}", HINT)
    return [line.strip() for line in done.stdout.decode(errors="replace").splitlines() if line]
