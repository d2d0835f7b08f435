"""A synthetic organisation, for demos, tests and benchmarks: seeded, streaming, and nobody in it exists."""

from pipelines.synthetic.organisation import Options, repeatable
from pipelines.synthetic.weeks import Record, events

__all__ = ["Options", "Record", "events", "repeatable"]
