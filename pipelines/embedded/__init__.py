"""Valkey, ArcadeDB (Bolt) and PostgreSQL as child processes on loopback: the laptop default and the test fixtures.

Not for production, where these are services of their own; programs get ordinary URLs and cannot tell the difference.
Importing this package starts nothing and imports none of the servers' packages.
"""

from pipelines.embedded.client import abandoned, pids, running
from pipelines.embedded.errors import EmbeddedError
from pipelines.embedded.place import default_state_dir
from pipelines.embedded.server import Server, Urls

__all__ = ["EmbeddedError", "Server", "Urls", "abandoned", "default_state_dir", "pids", "running"]
