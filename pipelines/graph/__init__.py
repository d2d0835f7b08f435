"""The organisation graph: what a batch of events adds to it, and the store that adds it exactly once."""
