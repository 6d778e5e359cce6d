"""Bouyomi-chan, the reader that the comment viewers of Japan speak to, as a bridge to koed."""
