"""Canned lines: rendered ahead per voice, so that a key press is heard at once with any engine."""
