"""How things stand, asked of the stores: runs as they may be shown today, on the terminal and on the page alike."""

from __future__ import annotations

from pathlib import Path

from pipelines import status, wiring_watch
from pipelines.jobs.facts import Sources
from pipelines.report import run_words
from pipelines.runs import Mode, Status
from pipelines.settings import Settings
from tests.support.fakes_ledger import NOW, FakeLedger


def test_what_was_told_of_a_team_under_a_smaller_k_is_not_in_the_list_of_runs(tmp_path: Path) -> None:
    ledger = FakeLedger()
    ledger.begin("intervention_planning", "r-1", Mode.DIRECT, NOW, parameters={"team_id": "Platform"})
    ledger.close("r-1", Status.COMPLETED, NOW, result={"planned": 1, "candidates": 5, "k": 5})
    told = {}
    for k in (5, 8):
        config = Settings(state_dir=tmp_path, min_group_size=k, _env_file=None)
        watched = wiring_watch.Watched(Sources(ledger=ledger), postgres=None, stopped=False)
        (run,) = status.standing(config, watched).runs
        told[k] = run_words.in_short(run)
    assert told[5] == "planned 1 of 5"
    assert told[8].startswith("not shown: ")
