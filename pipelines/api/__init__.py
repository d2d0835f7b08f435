"""The HTTP API: look at runs, start and stop them, decide on proposals. Routes are thin; what they do is in the jobs."""
