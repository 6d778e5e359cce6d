"""Bridges: the doors and protocols of other programs, opened only when asked for.

A bridge is a client of koed like any other, in a process of its own.
"""
