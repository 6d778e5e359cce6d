"""The wire: requests, events, what replies mean, and how a message becomes bytes."""
