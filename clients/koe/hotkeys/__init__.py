"""``koe hotkeys``: keys that work whatever window has the focus."""
