"""Which device speaks, and in which number formats: told from what a card says of itself.

`choose` and `formats` are pure; `here` asks torch. Capability is NVIDIA's: 6 Pascal, 7.0 Volta, 7.5
Turing, 8 Ampere and Ada, 9 Hopper, 10 and 12 Blackwell.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from koed.engine.gpt_sovits.model.linear import Precision
from koed.errors import EngineError

SETTING = re.compile(r"auto|cpu|cuda(:\d{1,2})?")
DRIVER = "/dev/nvidiactl"
LEAST_FREE_BYTES = 1 << 30
"""A model with two rows, its workspaces and the context; with less, every load would fail."""
ON_CPU = "so the neural voice speaks on the processor"

Formats = tuple[Precision, torch.dtype]
"""Of the text model and of the generator."""
EXACT: Formats = ("fp32", torch.float32)
_CPU: dict[str, Formats] = {
    "auto": EXACT,
    "fp32": EXACT,
    "fp16": ("fp16", torch.float32),
    "bf16": ("fp16", torch.bfloat16),
    "int8": ("int8", torch.bfloat16),
}
_CUDA: dict[str, Formats] = {
    "fp32": EXACT,
    "fp16": ("fp16", torch.float16),
    "bf16": ("bf16", torch.bfloat16),
}
AMPERE, VOLTA = (8, 0), (7, 0)


@dataclass(frozen=True, slots=True)
class Card:
    index: int
    """As nvidia-smi counts."""
    name: str
    capability: tuple[int, int]
    total_bytes: int

    def __str__(self) -> str:
        return f"cuda:{self.index} ({self.name})"


@dataclass(frozen=True, slots=True)
class Found:
    """What torch sees."""

    cards: tuple[Card, ...] = ()
    built_for: tuple[str, ...] = ()
    """As `torch.cuda.get_arch_list`: ``sm_86``, ``compute_90``."""
    without: str = ""
    """Why there are no cards; "" if this is no surprise."""


@dataclass(frozen=True, slots=True)
class Chosen:
    card: Card | None
    """None: the processor."""
    why: str = ""
    """Where somebody may have expected another: a sentence."""

    @property
    def device(self) -> torch.device:
        return torch.device("cpu") if self.card is None else torch.device("cuda", self.card.index)


def choose(setting: str, found: Found, free: Callable[[Card], int]) -> Chosen:
    """``free``: bytes that are free on a card; it is asked only of one that may be taken, as
    asking costs memory there. Raises `EngineError` ``bad_setting``."""
    if not SETTING.fullmatch(setting):
        allowed = "auto, cpu, cuda or cuda:N"
        raise EngineError("bad_setting", f"device may not be {setting[:40]!r}", f"it is {allowed}")
    if setting == "cpu":
        return Chosen(None)
    if not found.cards:
        asked = found.without or "there is no GPU" if setting != "auto" else found.without
        return Chosen(None, asked and f"{asked}, {ON_CPU}")
    wanted = [card for card in found.cards if setting in ("auto", "cuda", f"cuda:{card.index}")]
    if not wanted:
        there = ", ".join(map(str, found.cards))
        return Chosen(None, f"there is no {setting}, but {there}, {ON_CPU}")
    why = ""
    for card in sorted(wanted, key=lambda c: (c.capability, c.total_bytes), reverse=True):
        if not has_kernels(card, found.built_for):
            known = " ".join(found.built_for)
            why = f"this torch has no kernels for {card}, only for {known}"
        elif (left := free(card)) < LEAST_FREE_BYTES:
            why = f"{card} has {left >> 20} MB free, and {LEAST_FREE_BYTES >> 20} are needed"
        else:
            return Chosen(card, f"{why}, so {card} is taken" if why else "")
    return Chosen(None, f"{why}, {ON_CPU}")


def has_kernels(card: Card, built_for: Sequence[str]) -> bool:
    """Machine code (``sm_86``) runs on its own and later minor versions, ``sm_90a`` on its own
    alone, an intermediate one (``compute_90``) on all later cards. AMD's names are not judged."""
    judged = [re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name) for name in built_for]
    known = [match for match in judged if match]
    return not known or any(_runs(card.capability, *match.groups()) for match in known)


def _runs(capability: tuple[int, int], kind: str, major: str, minor: str, only: str) -> bool:
    made_for = int(major), int(minor)
    if only == "a":
        return capability == made_for
    if kind == "compute":
        return capability >= made_for
    return capability[0] == made_for[0] and capability >= made_for


def formats(card: Card | None, precision: str) -> Formats:
    """What ``precision`` means there. Halves are fast from Volta on, but those of the GTX 16 series
    give NaN in convolutions; Ampere was the first with bfloat16. Raises `EngineError`
    ``bad_setting``."""
    table = _CPU if card is None else {"auto": _automatic(card), **_CUDA}
    if precision not in table:
        kind = "the processor" if card is None else "a GPU"
        raise EngineError("bad_setting", f"precision {precision} is not for {kind}", "auto")
    return table[precision]


def _automatic(card: Card) -> Formats:
    if card.capability >= AMPERE:
        return "fp16", torch.bfloat16
    if card.capability >= VOLTA and "GTX 16" not in card.name:
        return "fp16", torch.float16
    return EXACT


def told(formats: Formats) -> str:
    """For people: ``fp16 and bfloat16``."""
    text, sound = formats[0], str(formats[1]).removeprefix("torch.")
    return "float32" if formats == EXACT else f"{text} and {sound}"


# --- what is here --------------------------------------------------------------------------------


def here(setting: str) -> Chosen:
    """On this machine. Raises `EngineError` ``bad_setting``."""
    return choose(setting, look() if setting != "cpu" else Found(), free_bytes)


def look() -> Found:
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return Found()
    with warnings.catch_warnings():  # it is told below
        warnings.simplefilter("ignore")
        if not torch.cuda.is_available():
            there = os.path.exists(DRIVER)
            return Found(
                without="torch cannot use the GPU, or not with its driver" if there else ""
            )
        count = torch.cuda.device_count()
    cards = []
    for index in range(count):
        seen = torch.cuda.get_device_properties(index)
        cards.append(Card(index, seen.name, (seen.major, seen.minor), seen.total_memory))
    return Found(tuple(cards), tuple(torch.cuda.get_arch_list()))


def free_bytes(card: Card) -> int:
    """What torch holds there and does not use counts as free."""
    held = torch.cuda.memory_reserved(card.index) - torch.cuda.memory_allocated(card.index)
    return int(torch.cuda.mem_get_info(card.index)[0] + held)
