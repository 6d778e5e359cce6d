"""Break the playback core in a copy, one verb at a time, and show which test notices.

    .venv/bin/python tools/mutants.py            all of them
    .venv/bin/python tools/mutants.py shut       those whose name holds a word

The unit tests of the core are tried first, then random sequences. A mutant that nobody notices is
a hole in the tests: the exit status is 1 then.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CORE = "daemon/koed/playback"
LIMIT_S = 300
"""A mutant may make a test run for ever."""


@dataclass(frozen=True)
class Mutant:
    verb: str
    file: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        "take_back: what continues a part is said again too", "utterance.py",
        "planned = None if said else part.again(self.heard_to)",
        "planned = part.again(self.heard_to)",
    ),
    Mutant(
        "again: a restyled part is said again from its beginning", "utterance.py",
        "        if not self.planned.restyle_of:\n            return Planned(self.segment)\n",
        "        if True:\n            return Planned(self.segment)\n",
    ),
    Mutant(
        "unheard: the word that sounds is said again", "utterance.py",
        "            if self.track_s(word) >= at_s:\n",
        "            if word.end and self.words[-1].at_s >= at_s:\n",
    ),
    Mutant(
        "rewind: a line that is taken back loses its text", "utterance.py",
        "        gone = self.take_back(None)\n",
        "        gone, self.parts = self.parts, []\n",
    ),
    Mutant(
        "wait_again: its parts stay alive", "lineup.py",
        "            for part in utterance.rewind():\n"
        "                self._parts.pop(part.serial, None)\n",
        "            utterance.rewind()\n",
    ),
    Mutant(
        "leave: what is over stays on its lane", "lineup.py",
        "            lane.utterances.remove(utterance)\n\n    def _finish",
        "            pass\n\n    def _finish",
    ),
    Mutant(
        "declare: an engine keeps what was replaced", "lineup.py",
        "if not (part.canned or part.replaced):", "if not part.canned:",
    ),
    Mutant(
        "replace: the old part plays on", "lineup.py",
        "        part.until_s = until_s\n", "",
    ),
    Mutant(
        "complete: a track is never ended", "lineup.py",
        "        self.effect(effects.End(part.serial, part.pause_s))\n", "",
    ),
    Mutant(
        "entries: the next line may begin too soon", "channel.py",
        "shut = shut or not line.exhausted", "shut = False",
    ),
    Mutant(
        "engine_lost: a line is tried again for ever", "handover.py",
        "            utterance.losses += 1\n", "",
    ),
    Mutant(
        "engine_lost: who was beside it is blamed too", "handover.py",
        " and len(lost) == 1:", ":",
    ),
    Mutant(
        "report: a pause is cut short", "progress.py",
        "                lane.resting = part.entry()\n", "                pass\n",
    ),
)  # fmt: skip


def main() -> int:
    wanted = [m for m in MUTANTS if all(word in m.verb for word in sys.argv[1:])]
    survived = 0
    with tempfile.TemporaryDirectory(prefix="koed-mutants-") as folder:
        copy = Path(folder)
        for name in ("daemon", "clients", "profiles", "tests"):
            shutil.copytree(REPOSITORY / name, copy / name)
        shutil.copy(REPOSITORY / "pyproject.toml", copy)
        print(f"{'mutant':62} noticed by", flush=True)
        for mutant in wanted:
            noticed = try_out(mutant, copy)
            survived += not noticed
            print(f"{mutant.verb:62} {noticed or 'NOBODY'}", flush=True)
    print(f"{len(wanted)} mutants, {survived} survived")
    return 1 if survived else 0


def try_out(mutant: Mutant, copy: Path) -> str:
    """The first test that fails with a mutant; empty = none does."""
    path = copy / CORE / mutant.file
    whole = path.read_text(encoding="utf-8")
    assert whole.count(mutant.old) == 1, f"{mutant.verb}: not once in {mutant.file}"
    path.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        units = [
            p for p in sorted((copy / "tests/playback").glob("test_*.py")) if "random" not in p.name
        ]
        return first_failure(copy, units) or first_failure(
            copy, ["tests/playback/test_random_0.py"]
        )
    finally:
        path.write_text(whole, encoding="utf-8")


def first_failure(copy: Path, files: list[Path] | list[str]) -> str:
    paths = os.pathsep.join(str(copy / name) for name in ("daemon", "clients", "."))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        *map(str, files),
    ]
    try:
        done = subprocess.run(
            command, cwd=copy, env=os.environ | {"PYTHONPATH": paths}, capture_output=True,
            text=True, check=False, timeout=LIMIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "a test that does not end"
    found = re.search(r"^(?:FAILED|ERROR) \S*/(\S+)", done.stdout, re.MULTILINE)
    if done.returncode and not found:
        return f"pytest itself: {done.stdout[-200:]}"
    return found[1] if found else ""


if __name__ == "__main__":
    sys.exit(main())
