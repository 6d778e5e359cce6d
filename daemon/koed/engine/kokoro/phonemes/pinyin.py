"""Pinyin to the symbols that Kokoro's Chinese voices were trained on.

Those of `misaki` (Apache-2.0, hexgrad), which has them from pinyin-to-ipa (MIT, Stefan Taubert).
"""

from __future__ import annotations

from koed.g2p.tables import words

_INITIALS = dict(
    pair.split("=")
    for pair in words(
        "b=p p=pʰ m=m f=f d=t t=tʰ n=n l=l g=k k=kʰ h=x j=ʨ q=ʨʰ x=ɕ "
        "zh=ꭧ ch=ꭧʰ sh=ʂ r=ɻ z=ʦ c=ʦʰ s=s"
    )
)
_FINALS = dict(
    pair.split("=")
    for pair in words(
        "a=a_ ai=ai_ an=a_n ang=a_ŋ ao=au_ e=ɤ_ ei=ei_ en=ə_n eng=ə_ŋ er=ɚ_ ê=ɛ_ "
        "i=i_ ia=ja_ ian=jɛ_n iang=ja_ŋ iao=jau_ ie=je_ in=i_n ing=i_ŋ io=jɔ_ iong=jʊ_ŋ iou=jou_ "
        "o=wo_ ong=ʊ_ŋ ou=ou_ u=u_ ua=wa_ uai=wai_ uan=wa_n uang=wa_ŋ uei=wei_ uen=wə_n ueng=wə_ŋ "
        "uo=wo_ v=y_ van=ɥɛ_n ve=ɥe_ vn=y_n"
    )
)
"""``_`` stands where the tone does."""
_BUZZED = frozenset(("zh", "ch", "sh", "r", "z", "c", "s"))
"""After these, i is no front vowel."""
_TONES = {"1": "→", "2": "↗", "3": "↓", "4": "↘", "5": ""}


def symbols(initial: str, final: str) -> str:
    """``final`` in full, with tone digit and ``v`` for ü (``iou3``); empty if Mandarin has no such
    sounds."""
    rest, tone = final[:-1], final[-1:]
    if tone not in _TONES or (initial and initial not in _INITIALS):
        return ""
    if rest == "i" and initial in _BUZZED:
        vowel = "ɨ_"
    elif rest == "o" and not initial:
        vowel = "ɔ_"
    else:
        vowel = _FINALS.get(rest, "")
    return (_INITIALS.get(initial, "") + vowel).replace("_", _TONES[tone]) if vowel else ""
