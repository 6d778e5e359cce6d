"""What can be a language at all."""

from __future__ import annotations

import pytest

from koed.errors import KoedError
from koed.text import language


@pytest.mark.parametrize(
    "lang",
    [None, "en", "JA", "yue", "zh-TW", "zh_CN", "fr-ca", "cmn-latn-pinyin", "auto", "all_zh",
     "auto_yue"],
)  # fmt: skip
def test_a_language_may_be_written_as_people_and_engines_do(lang: str | None) -> None:
    language.check(lang)


@pytest.mark.parametrize(
    ("lang", "hint"),
    [("jp", "'ja'"), ("xx", "fr"), ("english", "en"), ("", "en"), ("en ja", "en"), ("x" * 999, "")],
)
def test_what_can_be_none_is_refused_with_what_to_do(lang: str, hint: str) -> None:
    with pytest.raises(KoedError) as caught:
        language.check(lang)
    assert caught.value.code == "unknown_language"
    assert hint in caught.value.hint
    assert len(caught.value.message) < 80
