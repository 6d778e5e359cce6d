"""koe: the thin client of koed. Nothing here needs more than pyzmq and msgpack."""
