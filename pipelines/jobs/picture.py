"""The team graph as a page: what the graph store holds, through the privacy of `report.team_graph`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pipelines.graph import weights
from pipelines.model import RunReport
from pipelines.ports import Graph
from pipelines.report import team_graph, team_graph_html


def draw(graph: Graph, path: Path, k: int, now: datetime, run: RunReport | None = None) -> None:
    """Write the page. No person and no group of fewer than `k` is on it.

    Raises:
        OSError: the file cannot be written.
    """
    now_ms = int(now.timestamp() * 1000)
    teams = team_graph.build(graph.people(), graph.ties(), lambda tie: weights.shown(tie.strength, now_ms), k)
    words = [(medium.value, about) for medium, (about, _) in weights.WEIGHTS.items()]
    team_graph_html.write(path, teams, team_graph_html.Meaning(weights.HALF_LIFE, words), now, run)
