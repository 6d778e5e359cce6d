"""The official GPT-SoVITS as it is, for parity with its recorded runs."""
