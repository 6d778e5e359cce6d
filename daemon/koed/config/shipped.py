"""The voices that come with koed: which of them are offered here, and which is the first.

A machine that never ran koed begins with a natural voice. One that did keeps the voice that it had
until somebody asks for another: no update changes how a stream sounds.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from pathlib import Path

import koed
from koed.errors import ConfigError

log = logging.getLogger(__name__)

SMALL, NATURAL = "hana", "mia"
"""The first voice of either kind."""
NATURAL_VOICES = (NATURAL, "zoe", "max", "ivy", "otis", "yuki", "sora", "goro", "xia")
VARIABLE = "KOED_VOICE"
"""``natural`` or ``small``: what is offered and comes first, here and from now on."""
_LIBRARIES = ("onnxruntime", "misaki")
_NOTE = "voices"
"""In the state folder: natural, small, or before (koed ran here when there was nothing to choose).
"""
_KINDS = ("natural", "small")


def folder() -> Path:
    """Beside the checkout's code, or inside the wheel. Raises `ConfigError` ``no_profiles``."""
    package = Path(koed.__file__).resolve().parent
    for found in (package / "_profiles", package.parents[1] / "profiles"):
        if found.is_dir():
            return found
    raise ConfigError(
        "no_profiles",
        "there is no folder with voice profiles",
        "make one, and name it as profiles: in koed.yaml",
    )


def is_folder(path: Path) -> bool:
    try:
        return path.resolve() == folder()
    except (OSError, ConfigError):
        return False


def left_out(path: Path) -> frozenset[str]:
    """Profiles of a folder that are not offered: the natural ones that come with koed, where what
    runs them was not installed or nobody wants them."""
    natural = is_folder(path) and not _has_natural()
    return frozenset(NATURAL_VOICES if natural else ())


def begin(state: Path, configured: bool) -> None:
    """Note what kind this machine begins with. ``state``: the state folder; ``configured``: there
    is a koed.yaml. To be called before koed writes anything there."""
    note = state / _NOTE
    said = os.environ.get(VARIABLE, "")
    try:
        if said not in _KINDS:
            if note.exists():
                return
            said = (
                "before" if configured or (state.is_dir() and any(state.iterdir())) else _KINDS[0]
            )
        state.mkdir(parents=True, exist_ok=True)
        note.write_text(said + "\n", "utf-8")
    except OSError as error:
        log.info("which voice is the first cannot be noted: %s", error)


def first_voice(profiles: Path, state: Path) -> str:
    """Of a configuration that names none."""
    natural = is_folder(profiles) and _has_natural() and _kind(state) == "natural"
    return NATURAL if natural else SMALL


def tip(state: Path) -> str | None:
    """For who ran koed before there were natural voices."""
    if _kind(state) != "before":
        return None
    if _has_natural():
        return f"there are natural voices now: koe voice {NATURAL}"
    return f"there are natural voices now: {VARIABLE}=natural make run"


def _kind(state: Path) -> str:
    said = os.environ.get(VARIABLE, "")
    if said in _KINDS:
        return said
    try:
        return (state / _NOTE).read_text("utf-8").strip()
    except (OSError, ValueError):
        return "small"


def _has_natural() -> bool:
    """What runs them is installed, and wanted."""
    if os.environ.get(VARIABLE) == "small":
        return False
    return all(importlib.util.find_spec(name) is not None for name in _LIBRARIES)
