"""Does the neural voice work here? It is tried: `koed check` runs

    python -m koed.bench.engine.trial

which makes the tiny checkpoint set in a folder of its own, prepares a voice, speaks a line and
prints one JSON line: ``{"device", "torch", "card", "prepare_s", "spoken_s", "took_s", ...}``, or
``{"error", "message", "hint"}`` and ends with 1. It says nothing about how a real model sounds, or
how fast.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from koed.bench.engine.parts import buzz_wav
from koed.engine.base import DEVICE_VARIABLE, Job, ProfileSpec
from koed.engine.gpt_sovits import cards
from koed.engine.gpt_sovits.cards import Card
from koed.engine.gpt_sovits.engine import GptSovitsEngine
from koed.engine.gpt_sovits.memory import allowed_bytes
from koed.engine.gpt_sovits.store.hub import S2_V2
from koed.errors import EngineError, KoedError
from koed.testing import tiny

MODEL_BYTES = 600 << 20
"""Of a base model on a GPU in halves, with two rows and its graphs."""
REFERENCE_S, RATE_HZ = 3.2, 32_000
SAID = "This is what was said when the reference was recorded."
LINE = "Good evening, and welcome to the stream."


def trial() -> dict[str, Any]:
    """Load, prepare and speak. Raises `EngineError`."""
    with tempfile.TemporaryDirectory(prefix="koed-trial-") as folder:
        engine = GptSovitsEngine(tiny.make(Path(folder)))
        try:
            return _spoken(engine)
        finally:
            engine.close()


def _spoken(engine: GptSovitsEngine) -> dict[str, Any]:
    # The tiny model babbles: guards would be right to refuse it.
    settings = {"model": Path(S2_V2).parent.name, "guards": "none"}
    reference = {"audio": buzz_wav(REFERENCE_S, RATE_HZ), "transcript": SAID, "lang": "en"}
    began = time.monotonic()
    voice = engine.prepare(ProfileSpec("trial", "en", settings, reference))
    engine.load(voice)
    prepared = time.monotonic()
    job = Job(1, 1, voice.key, LINE, "en")
    spoken_s = sum(len(chunk.pcm) / chunk.rate_hz for chunk in engine.stream(voice, job))
    if not spoken_s:
        raise EngineError("speech_empty", "the trial line came out empty")
    return {
        "device": engine.models.device.type,
        "torch": torch.__version__,
        "cuda": torch.version.cuda or getattr(torch.version, "hip", None) or "",
        **_card(engine.models.card),
        "prepare_s": round(prepared - began, 2),
        "spoken_s": round(spoken_s, 2),
        "took_s": round(time.monotonic() - prepared, 2),
    }


def _card(card: Card | None) -> dict[str, Any]:
    """What speaks, or why it is no GPU."""
    if card is None:
        why = cards.here(os.environ.get(DEVICE_VARIABLE, "auto")).why
        return {"card": "", "why": why}
    allowed = allowed_bytes(card, 0)
    return {
        "card": str(card),
        "capability": ".".join(map(str, card.capability)),
        "total_mb": card.total_bytes >> 20,
        "free_mb": cards.free_bytes(card) >> 20,
        "formats": cards.told(cards.formats(card, "auto")),
        "models": max(1, allowed // MODEL_BYTES),
    }


def main() -> int:
    try:
        answer = trial()
    except KoedError as error:
        print(json.dumps({"error": error.code, "message": error.message, "hint": error.hint}))
        return 1
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
