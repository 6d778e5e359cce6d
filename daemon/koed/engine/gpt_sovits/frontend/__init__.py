"""The text front end: text of a segment in, phones and what BERT needs out.

=====================  ==============================================================
``phones.py``          `phones`: language parts, phones, ids, refusals
``split.py``           parts of a text by language
``cut.py``             the official program's ways to cut a text into segments
``symbols.py``         the symbol lists; ``marks.py`` the punctuation
``chinese*.py``        Mandarin: numbers, readings, tone sandhi; ``pinyin.py`` its phones
``cantonese.py``       Cantonese, on the Chinese numbers
``english*.py``        English: numbers, dictionary, network for unknown words
``japanese*.py``       Japanese: OpenJTalk's words with the models' accents
``korean*.py``         Korean: sound changes, jamo
=====================  ==============================================================

A language's module and libraries are imported when a piece of that language comes.
"""

from koed.engine.gpt_sovits.frontend.phones import PhonePiece, Phones, phones

__all__ = ["PhonePiece", "Phones", "phones"]
