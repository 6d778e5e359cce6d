"""The voice of a fresh machine: flite (en), OpenJTalk (ja), the espeak-ng program (the rest)."""
