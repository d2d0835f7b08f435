"""Kill everything with SIGKILL while the real job runs on real servers, then compare the graph with what was sent.

`python -m tests.chaos` is the whole programme; `--quick` is what the test suite runs. Nothing here is a test by itself.
"""
