"""Which working conditions change what: questions, panel, estimates, checks and verdicts. Nothing here does I/O."""
