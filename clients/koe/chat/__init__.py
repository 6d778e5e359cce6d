"""Chats as clients of koed: lines from other tools, from a log, from a platform."""
