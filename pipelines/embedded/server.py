"""The three servers by name, and the URLs under which a program reaches them."""

import enum
from dataclasses import dataclass


class Server(enum.Enum):
    REDIS = "redis"
    GRAPH = "graph"
    POSTGRES = "postgres"


@dataclass(frozen=True, repr=False)
class Urls:
    """Where the servers are, credentials included; None for a server that was not wanted."""

    redis: str | None
    graph: str | None
    graph_user: str | None
    graph_password: str | None
    postgres: str | None

    def __repr__(self) -> str:
        """Says which servers there are and not one secret: this ends up in logs and tracebacks."""
        there = [name for name in ("redis", "graph", "postgres") if getattr(self, name)]
        return f"Urls({', '.join(f'{name}=<hidden>' for name in there)})"
