"""The voices of Kokoro-82M that come with koed: who made them, and how good their author finds
them. Their tables are `voices/NAME.xz`; licences and credits also in `voices/README.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AUTHOR, LICENCE = "hexgrad", "Apache-2.0"
"""Of all: https://huggingface.co/hexgrad/Kokoro-82M"""
DEFAULT = "af_heart"
"""Of a profile that names none."""


@dataclass(frozen=True, slots=True)
class ShippedVoice:
    lang: str
    """Whose sounds it was trained on; it can say others, with an accent."""
    sex: Literal["f", "m"]
    grade: str
    """A to F, the author's estimate of how good and how much its training data is."""
    credit: str = ""
    """Recording that it was trained on and whose licence wants to be named."""

    @property
    def rights(self) -> str:
        """For the ``rights`` of a profile."""
        credit = f" {self.credit}." if self.credit else ""
        return (
            f"Kokoro-82M by {AUTHOR}, {LICENCE}; its author grades this voice {self.grade}.{credit}"
        )


def _read_by(title: str) -> str:
    return (
        f'Trained on "{title}", read by an announcer of TNC Television Nishinippon'
        " (https://www.tnc.co.jp/forchildren/roudoku), from Koniwa"
        " (https://github.com/koniwa/koniwa), CC BY 3.0"
    )


SHIPPED = {
    "af_heart": ShippedVoice("en-us", "f", "A"),
    "af_bella": ShippedVoice("en-us", "f", "A-"),
    "af_nicole": ShippedVoice("en-us", "f", "B-"),
    "am_fenrir": ShippedVoice("en-us", "m", "C+"),
    "am_michael": ShippedVoice("en-us", "m", "C+"),
    "bf_emma": ShippedVoice("en-gb", "f", "B-"),
    "bm_george": ShippedVoice("en-gb", "m", "C"),
    "jf_alpha": ShippedVoice("ja", "f", "C+"),
    "jf_gongitsune": ShippedVoice("ja", "f", "C", _read_by("Gongitsune")),
    "jf_nezumi": ShippedVoice("ja", "f", "C-", _read_by("Nezumi no yomeiri")),
    "jf_tebukuro": ShippedVoice("ja", "f", "C", _read_by("Tebukuro wo kai ni")),
    "jm_kumo": ShippedVoice("ja", "m", "C-", _read_by("Kumo no ito")),
    "zf_xiaoxiao": ShippedVoice("zh", "f", "D"),
    "zm_yunyang": ShippedVoice("zh", "m", "D"),
}
