"""Can these profiles become voices here? `koed check` asks it in a process that then ends, as the
stage loads no engine:

    python -m koed.engine.worker.check ENGINE < specs.msgpack

Prints a JSON line for each that cannot: ``{"name", "error", "message", "hint"}``, the name empty if
the engine itself cannot be had.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence

import msgpack

from koed.engine import registry
from koed.engine.base import Checking, Engine, ProfileSpec
from koed.errors import EngineError, KoedError

LONGEST_S = 120.0
"""A busy machine takes half a minute to load the libraries of an engine."""


def check_apart(specs: Sequence[ProfileSpec], engine: str) -> list[tuple[str, EngineError]]:
    """(name of the profile, what is wrong with it); runs this module as a child."""
    command = [sys.executable, "-P", "-m", "koed.engine.worker.check", engine]
    packed = msgpack.packb([dataclasses.asdict(spec) for spec in specs], use_bin_type=True)
    try:
        done = subprocess.run(
            command, input=packed, capture_output=True, timeout=LONGEST_S, check=False
        )
        found = [json.loads(line) for line in done.stdout.splitlines()]
    except subprocess.TimeoutExpired:
        return [("", EngineError("check_hangs", f"no answer within {LONGEST_S:.0f} s"))]
    except ValueError:
        done.returncode = done.returncode or 1
    if done.returncode:
        last = (done.stderr.decode("utf-8", "replace").splitlines() or ["it said nothing"])[-1]
        return [("", EngineError("engine_broken", f"engine {engine} ended: {last:.200}"))]
    return [(row["name"], EngineError(row["error"], row["message"], row["hint"])) for row in found]


def main(argv: list[str]) -> int:
    (name,) = argv
    specs = [ProfileSpec(**spec) for spec in msgpack.unpackb(sys.stdin.buffer.read(), raw=False)]
    try:
        engine = registry.create(name)
    except KoedError as error:
        _tell("", error)
        return 0
    heavy = registry.find(name).neural
    for spec in specs:
        try:
            _check(engine, spec, heavy)
        except KoedError as error:
            _tell(spec.name, error)
    engine.close()
    return 0


def _check(engine: Engine, spec: ProfileSpec, heavy: bool) -> None:
    if isinstance(engine, Checking):
        engine.check(spec)
    elif not heavy:
        engine.prepare(spec)


def _tell(name: str, error: KoedError) -> None:
    row = {"name": name, "error": error.code, "message": error.message, "hint": error.hint}
    print(json.dumps(row))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
