"""The account of every run of every flow, with or without Prefect. Only `store` does I/O; `rules` is pure."""
