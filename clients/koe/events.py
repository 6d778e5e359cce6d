"""Events under their name of before `koe.wire` was a folder."""

from koe.wire.events import *  # noqa: F403 - every class, as koe.protocol has it
