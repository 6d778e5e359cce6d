"""Compile a profile, unless it lies in the cache of voices; and that in a process that then ends:

    python -m koed.engine.worker.prepare ENGINE CACHE < spec.msgpack

`koed enroll` runs it, so that the stage needs no torch and a new voice is ready when it is first
asked for. Prints one JSON line: ``{"loudness_lufs", "took_s", "remarks"}``, or
``{"error", "message", "hint"}`` and ends with 1.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgpack

from koed.engine import registry
from koed.engine.base import Engine, ProfileSpec, Voice
from koed.engine.loudness import checked_lufs
from koed.engine.worker.voice_cache import VoiceCache
from koed.errors import EngineError, KoedError

log = logging.getLogger(__name__)

LONGEST_S = 600.0
"""Full-size networks on a slow processor; what takes longer hangs."""


def prepare_apart(spec: ProfileSpec, engine: str, cache: Path) -> dict[str, Any]:
    """Run this module as a child; its answer. Raises what the engine raised, `EngineError`."""
    command = [sys.executable, "-P", "-m", "koed.engine.worker.prepare", engine, str(cache)]
    packed = msgpack.packb(dataclasses.asdict(spec), use_bin_type=True)
    try:
        done = subprocess.run(
            command, input=packed, capture_output=True, timeout=LONGEST_S, check=False
        )
        answer: dict[str, Any] = json.loads((done.stdout.splitlines() or [b""])[-1])
    except subprocess.TimeoutExpired as error:
        raise EngineError("prepare_hangs", f"no voice within {LONGEST_S:.0f} s") from error
    except ValueError as error:
        last = (done.stderr.decode("utf-8", "replace").splitlines() or ["it said nothing"])[-1]
        raise EngineError("prepare_failed", f"preparing the voice ended: {last}") from error
    if "error" in answer:
        raise EngineError(answer["error"], answer["message"], answer["hint"])
    return answer


def prepared(
    engine: Engine, spec: ProfileSpec, key: str, cache: VoiceCache | None
) -> tuple[Voice, bool]:
    """The voice of ``spec`` under ``key``, loaded, and whether it lay in ``cache``; one that was
    made anew lies there now. Raises what the engine raises."""
    cached = cache.get(key) if cache else None
    if cached is not None:
        voice = dataclasses.replace(cached, name=spec.name)
        try:
            engine.load(voice)
        except Exception as error:  # as good as damaged: make it anew
            code = error.code if isinstance(error, KoedError) else ""
            if code == "device_lost":
                raise
            level = logging.INFO if code == "stale_voice" else logging.WARNING
            bug = error if not code else None
            log.log(level, "the voice %s is made anew: %s", voice.name, error, exc_info=bug)
        else:
            return voice, True
    made = _made(engine, spec, key)
    engine.load(made)
    if cache:
        cache.put(made)
    return made, False


def _made(engine: Engine, spec: ProfileSpec, key: str) -> Voice:
    made = dataclasses.replace(engine.prepare(spec), key=key)
    checked_lufs(made.loudness_lufs)
    return made


class _Remarks(logging.Handler):
    """Warnings of the engine, to be told to the user."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def _compile(engine_name: str, cache: Path, spec: ProfileSpec) -> dict[str, Any]:
    began = time.monotonic()
    remarks = _Remarks()
    logging.getLogger("koed").addHandler(remarks)
    engine = registry.create(engine_name)
    try:
        made = _made(engine, spec, spec.key(engine.name))
        VoiceCache(cache, engine.name, engine.version).put(made)
    finally:
        engine.close()
    return {
        "loudness_lufs": round(float(made.loudness_lufs), 1),
        "took_s": round(time.monotonic() - began, 2),
        "remarks": remarks.said,
    }


def main(argv: list[str]) -> int:
    engine, cache = argv
    spec = ProfileSpec(**msgpack.unpackb(sys.stdin.buffer.read(), raw=False))
    try:
        print(json.dumps(_compile(engine, Path(cache), spec)))
    except KoedError as error:
        print(json.dumps({"error": error.code, "message": error.message, "hint": error.hint}))
        return 1
    except ImportError as error:
        message = f"the neural engine is not installed: {error}"
        hint = "install koed with the extra gpt-sovits"
        print(json.dumps({"error": "library_missing", "message": message, "hint": hint}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
