"""The one pull step: where a scheduled run starts.

A process worker starts each run in a new, empty directory. There is no .env there, and the embedded servers would be made
anew in it: a run that succeeds on an empty graph, every five minutes.
"""

from __future__ import annotations

from pathlib import Path

from pipelines import settings
from pipelines.errors import InvalidInput
from pipelines.settings import Settings

HOME = Path(__file__).resolve().parent.parent


def checkout(home: Path = HOME) -> dict[str, str]:
    """The checkout that this package lies in, as `directory`; nothing where it is installed, as in the image.

    Raises:
        InvalidInput: it is installed, and the settings name neither the servers nor where the embedded ones live.
    """
    if is_checkout(home):
        return {"directory": str(home)}
    if not is_placed(settings.load()):
        raise InvalidInput(
            "this run does not know its stores: set ORGANISM_REDIS_URL, ORGANISM_GRAPH_URL and ORGANISM_POSTGRES_URL,"
            " or ORGANISM_STATE_DIR for the embedded servers, where the worker is started"
        )
    return {}


def is_checkout(home: Path = HOME) -> bool:
    """Whether the package lies beside its pyproject.toml, and not among the installed ones."""
    return (home / "pyproject.toml").is_file() and (home / "prefect.yaml").is_file()


def is_placed(config: Settings) -> bool:
    """Whether a run finds the same stores wherever it is started."""
    servers = (config.redis_url, config.graph_url, config.postgres_url)
    return all(url is not None for url in servers) or config.state_dir is not None
