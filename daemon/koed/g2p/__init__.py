"""Text of a segment to phones, for every neural engine; a model's ids come in as a `SymbolTable`.

=====================  ==============================================================
``phones.py``          `phones`: language parts, phones, ids, refusals
``split.py``           parts of a text by language
``symbol_table.py``    what a model knows of phones; ``marks.py`` names of what is silent
``script_check.py``    whether a text is written in the language that it is said to be in
``chinese*.py``        Mandarin: numbers, readings, tone sandhi; ``pinyin.py`` its phones
``cantonese.py``       Cantonese, on the Chinese numbers
``english*.py``        English: numbers, dictionary, network for unknown words
``japanese*.py``       Japanese: OpenJTalk's words with the models' accents
``korean*.py``         Korean: sound changes, jamo
``vocabulary.py``      that of a BERT, which g2pW is
=====================  ==============================================================

A language's module and libraries are imported when a piece of that language comes.
"""

from koed.g2p.phones import PhonePiece, Reading, phones

__all__ = ["PhonePiece", "Reading", "phones"]
