"""Pinyin syllables to two phones each, by rule."""

from __future__ import annotations

from koed.g2p.tables import words

INITIALS = words("b p m f d t n l g k h j q x zh ch sh r z c s y w")
ONSETS = ("AA", "EE", "OO")  # stand before a final that has no initial
FINALS = words(
    "a ai an ang ao e ei en eng er i i0 ia ian iang iao ie in ing iong ir iu o ong ou "
    "u ua uai uan uang ui un uo v van ve vn E En"
)

# What pinyin writes short after an initial.
_SHORT = {"uei": "ui", "iou": "iu", "uen": "un"}
# Finals without an initial, as (onset, final). Others get the onset symbol of their vowel.
_ALONE = {
    "i": ("y", "i"),
    "in": ("y", "in"),
    "ing": ("y", "ing"),
    "ie": ("y", "E"),
    "ian": ("y", "En"),
    "iong": ("y", "ong"),
    "u": ("w", "u"),
    "ueng": ("w", "eng"),
    "v": ("y", "v"),
    "ve": ("y", "ve"),
    "van": ("y", "van"),
    "vn": ("y", "vn"),
}
_VOWEL_ONSETS = dict(zip("aeo", ONSETS, strict=True))
_SIBILANTS = {"zh": "ir", "ch": "ir", "sh": "ir", "r": "ir", "z": "i0", "c": "i0", "s": "i0"}


def syllable_phones(initial: str, final: str, tone: str) -> list[str] | None:
    """Initial (or onset) and final with tone; None if Mandarin has no such syllable.

    ``final`` is the full one, with ``v`` for ü (``iou``, ``uei``, ``ve``).
    """
    if not initial:
        onset, rest = _without_initial(final)
    else:
        onset, rest = initial, _SHORT.get(final, final)
        if rest == "i":
            rest = _SIBILANTS.get(initial, rest)
        elif rest == "ueng":
            rest = "ong"
    known = rest in FINALS and (onset in INITIALS or onset in ONSETS)
    return [onset, rest + tone] if known else None


def _without_initial(final: str) -> tuple[str, str]:
    if final in _ALONE:
        return _ALONE[final]
    if final[:1] in ("i", "u") and len(final) > 1:
        glide = "y" if final[0] == "i" else "w"
        return glide, final[1:]
    return _VOWEL_ONSETS.get(final[:1], ""), final
