"""Chat: who is read, in which voice, and what is left out."""
