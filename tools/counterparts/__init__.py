"""The other side, for tests and benchmarks: real programs, started apart from the user's own."""
