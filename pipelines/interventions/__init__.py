"""From a credible finding to a proposal that a person may approve. Only `store` does I/O; all else is pure."""
