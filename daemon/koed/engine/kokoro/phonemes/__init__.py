"""Text of a segment to the symbols that the model reads: `read`.

====================  ===============================================================
``values.py``        what comes out, for every language
``read.py``          parts of a text by script, each to its reader
``english.py``       English words in their sentence; ``lexicon.py`` how one is said
``arpabet.py``       the phones of our own dictionary in the model's symbols
``espeak.py``        Spanish, French, Italian, Portuguese, Hindi from a program's IPA
``japanese.py``      OpenJTalk's phones
``chinese.py``       pinyin
====================  ===============================================================
"""

from koed.engine.kokoro.phonemes.read import LANGUAGES, read
from koed.engine.kokoro.phonemes.values import Phonemes

__all__ = ["LANGUAGES", "Phonemes", "read"]
