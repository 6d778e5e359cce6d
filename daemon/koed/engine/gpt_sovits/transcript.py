"""Whether a transcript can be what is said in its clip. Without torch, so that `koed enroll` asks
here too where the voice is not prepared at once."""

from __future__ import annotations

from koed.engine.gpt_sovits.symbols import table
from koed.errors import EngineError
from koed.g2p import phones, script_check

RIGHT = (
    "write exactly what is said in the clip, in the usual letters of its language, and which"
    " language that is: reference: lang, or koed enroll --lang"
)
PHONES_PER_S = (2.0, 40.0)
"""Of a transcript: outside, it is not what is said in the clip."""


def check(transcript: str, lang: str, duration_s: float) -> None:
    """All that can be told without a model. Raises `EngineError` ``reference_transcript``, or
    ``library_missing`` where the language cannot be read."""
    check_language(transcript, lang)
    try:
        reading = phones(transcript, _plain(lang), table("v2"))
    except EngineError as error:
        if error.code == "library_missing":
            raise
        raise unreadable(error) from error
    check_pace(len(reading.phones) / duration_s)


def check_language(transcript: str, lang: str) -> None:
    """Raises `EngineError` ``reference_transcript``."""
    if found := script_check.foreign_to(transcript, _plain(lang)):
        raise EngineError(
            "reference_transcript",
            f"the transcript is said to be {_plain(lang)}, and is written in {found}",
            RIGHT,
        )


def check_pace(phones_per_s: float) -> None:
    """Raises `EngineError` ``reference_transcript``."""
    low, high = PHONES_PER_S
    if not low <= phones_per_s <= high:
        much = "much" if phones_per_s > high else "little"
        raise EngineError(
            "reference_transcript",
            f"the transcript has {phones_per_s:.0f} phones for a second of the clip, too {much}",
            RIGHT,
        )


def unreadable(error: EngineError) -> EngineError:
    """What the front end said of a transcript, as an error of the reference."""
    return EngineError(
        "reference_transcript", f"the transcript cannot be read: {error.message}", RIGHT
    )


def _plain(lang: str) -> str:
    return lang.lower().removeprefix("all_").split("-")[0]
