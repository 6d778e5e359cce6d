"""OBS: what its scenes decide, and what it is told. koed speaks on without it."""
