"""Text of a segment to the symbols that the model reads.

================  ===============================================================
``values.py``    what comes out, for every language
================  ===============================================================
"""
