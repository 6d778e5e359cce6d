"""A first line into nothing: does a base model speak in these number formats on this card?"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

from koed.engine.gpt_sovits import failures
from koed.engine.gpt_sovits.cards import EXACT, Formats, told
from koed.engine.gpt_sovits.model.linear import Precision
from koed.engine.gpt_sovits.model.sovits import SoundModel
from koed.engine.gpt_sovits.model.style_encoder import Style
from koed.engine.gpt_sovits.model.t2s import T2S
from koed.errors import EngineError

log = logging.getLogger(__name__)

PHONES, CODES = 8, 25


class Speaking(Protocol):
    t2s: T2S
    sound: SoundModel


Model = TypeVar("Model", bound=Speaking)


def working(build: Callable[[Precision, torch.dtype], Model], wanted: Formats, what: str) -> Model:
    """A model in the formats ``wanted`` or, if it does not speak in them, in float32.

    Raises `EngineError` ``not_finite``, or ``gpu_unsupported``, naming ``what``.
    """
    trouble: EngineError | None = None
    for formats in dict.fromkeys((wanted, EXACT)):
        if trouble is not None:
            log.warning("%s; it is tried in float32, more slowly", trouble.message)
        try:
            model = build(*formats)
            if is_finite(model.t2s, model.sound):
                return model
            code, why = "not_finite", "makes samples that are no numbers"
        except RuntimeError as error:
            found = failures.told(error)
            if found is None or found.code != "gpu_unsupported":
                raise
            code, why = found.code, found.message
        trouble = EngineError(code, f"{what} in {told(formats)}: {why}", failures.OTHER_DEVICE)
    assert trouble is not None
    raise trouble


@torch.inference_mode()
def is_finite(t2s: T2S, sound: SoundModel) -> bool:
    """Whether a second of speech is made of numbers in both models."""
    phones = torch.arange(1, 1 + PHONES, device=t2s.device)
    codes = torch.arange(CODES, device=t2s.device)
    state = t2s.new_state(1, PHONES + CODES + 2)
    logits = [t2s.prefill(state, 0, phones, None, codes), t2s.step(state, codes[:1])[0]]
    # No voice is known yet, and none is needed for this.
    ge = torch.zeros(1, sound.dims.style, 1, device=sound.device)
    ge512 = torch.zeros(1, sound.dims.encoder.style, 1, device=sound.device)
    wave = sound.synthesize(codes, phones, Style(ge, ge512))
    return all(bool(made.isfinite().all()) for made in (*logits, wave))
