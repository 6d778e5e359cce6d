"""The natural voice: Kokoro-82M on a processor, through onnxruntime.

=================  ==================================================================
``engine.py``      the engine `kokoro`: voices, calibrated and kept
``speech.py``      the stream of one segment: planned by parts, decoded by pieces
``onsets.py``      when the symbols of a plan are heard
``passages.py``    passages that the model takes at once, pieces that leave one by one
``prosody.py``     pitch, intonation and effort, changed between the two halves
``model.py``       the two halves, in onnxruntime; ``source.py`` what the second shapes
``weights.py``     where the model comes from; ``onnx_cut.py`` how it is halved
``tables.py``      voices as tables; ``table_files.py`` those of others
``phonemes/``      text to symbols; ``symbols.py`` those of the model
=================  ==================================================================
"""

from koed.engine.base import EngineSpec

ENGINE = EngineSpec(
    "koed.engine.kokoro.engine:KokoroEngine",
    prepares_beside=True,
    install="KOED_VOICE=natural make run installs it",
)
