"""The edge: what an interaction event is, where it waits, and where it goes when it cannot be applied."""
