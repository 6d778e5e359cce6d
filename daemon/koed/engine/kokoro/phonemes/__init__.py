"""Text of a segment to the symbols that the model reads: `read`.

====================  ===============================================================
``values.py``         what comes out, for every language
``read.py``           parts of a text by script, each to its reader
``english.py``        English words in their sentence
``pronunciation.py``  how one of them is said: ``dictionary.py``, then our own phones
                     (``arpabet.py``); ``stress.py`` within a word
``marks.py``          marks of any print in those that the model knows
``espeak.py``         Spanish, French, Italian, Portuguese, Hindi from a program's IPA
``japanese.py``       OpenJTalk's words; ``kana.py`` how each mora of them is said
``chinese.py``        jieba's words; ``pinyin.py`` how each syllable of them is said
``cjk_marks.py``      marks of Japanese and Chinese print
====================  ===============================================================
"""

from koed.engine.kokoro.phonemes.read import LANGUAGES, read
from koed.engine.kokoro.phonemes.values import Phonemes

__all__ = ["LANGUAGES", "Phonemes", "read"]
