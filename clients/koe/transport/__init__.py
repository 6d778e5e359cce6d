"""How a client reaches koed: addresses, one connection, and two ways to wait for it."""
