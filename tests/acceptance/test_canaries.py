"""Canaries: identities and secrets that are planted on purpose and looked for on everything that the product shows.

A surface is a command with its arguments; whatever it prints, logs or writes is searched. Deliberate views of single
entries and ties (`--reveal`) are not surfaces: they name people because an operator asked for that by name.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations
from pathlib import Path

import pytest

from pipelines import wiring
from pipelines.errors import Refused
from pipelines.privacy.traces import check_text
from pipelines.report import story_html, story_json, story_terminal
from pipelines.report.story_telling import tell
from tests.conftest import as_environment, opened
from tests.support import make, stories

ROOT = Path(__file__).parent.parent.parent
CONTENT = "the canary sings at midnight"
ADDRESS = "canary.bird@corp.example"
KEY = "canary-key-0123456789abcdef"
PASSWORD = "canary-password"
#: People of three teams: one that may be shown, one of three that may not, and one that has to hide with it.
TEAMS = {"Large canaries": 9, "Middle canaries": 6, "Small canaries": 3}
#: Of the small team, to be found nowhere: strength and count of its inside ties are unlike all others.
TICKS = 777
PLANTED = [CONTENT, KEY, PASSWORD, "canary.bird"]


@dataclass(frozen=True)
class Surface:
    """A command, and the files that it writes. code: with which it ends."""

    command: str
    arguments: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    code: int = 0
    environment: tuple[tuple[str, str], ...] = ()


_BROKEN = (("ORGANISM_POSTGRES_URL", f"postgresql://organism:{PASSWORD}@127.0.0.1:1/none"),)
_RUN = Surface("incremental")
_PICTURE = Surface("team_graph", ("--output", "team-graph.html"), ("team-graph.html",))
_LETTERS = Surface("dlq", ("list", "--json"))
SURFACES = [
    _RUN,
    Surface("incremental", ("--json",)),
    Surface("verify"),
    Surface("verify", ("--json",)),
    Surface("dlq", ("list",)),
    _LETTERS,
    _PICTURE,
    Surface("verify", code=1, environment=_BROKEN),
]


def people() -> dict[str, str]:
    return {make.person(100 * t + i): team for t, (team, size) in enumerate(TEAMS.items()) for i in range(size)}


def planted() -> Iterator[bytes]:
    """A roster, ties inside and between the teams, and what must never be taken in."""
    team_of = people()
    for person, team in team_of.items():
        yield make.other("roster.joined", f"r{person}", time=make.NOW - timedelta(days=9), person=person, team=team)
    for number, (one, other) in enumerate(combinations(team_of, 2)):
        yield make.event(f"e{number}", one, [other])
    small = [person for person, team in team_of.items() if team == "Small canaries"]
    for tick in range(TICKS):
        yield make.event(f"s{tick}", small[tick % 3], [small[(tick + 1) % 3]])
    yield make.event("content", subject=CONTENT)
    yield make.event("address", ADDRESS, [make.person(1)])
    yield b'{"id": "' + ADDRESS.encode()


@dataclass(frozen=True)
class Cage:
    """Servers that hold the canaries, and the environment that leads commands to them."""

    environment: dict[str, str]
    folder: Path
    told: dict[Surface, str] = field(default_factory=dict)

    def text(self, surface: Surface) -> str:
        """All that a surface shows, asked for once: what it prints, logs at its most talkative, and writes."""
        if surface not in self.told:
            self.told[surface] = self._ask(surface)
        return self.told[surface]

    def _ask(self, surface: Surface) -> str:
        done = subprocess.run(
            [sys.executable, "-m", f"pipelines.{surface.command}", *surface.arguments],
            env=self.environment | dict(surface.environment),
            cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == surface.code, done.stderr + done.stdout
        written = [(self.folder / name).read_text("utf-8") for name in surface.writes]
        return "\n".join((done.stdout, done.stderr, *written))


@pytest.fixture(scope="module")
def cage(embedded: wiring.Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cage]:
    folder = tmp_path_factory.mktemp("canaries")
    own = {"ORGANISM_STATE_DIR": str(folder), "PYTHONPATH": str(ROOT), "ORGANISM_PSEUDONYM_KEY": KEY}
    talkative = {"ORGANISM_LOG_LEVEL": "DEBUG", "ORGANISM_BREAKER_SHARE": "1"}
    with opened(embedded) as stores:
        stores.stream.append(list(planted()))
        yield Cage(os.environ | as_environment(embedded) | own | talkative, folder)


@pytest.mark.parametrize("surface", SURFACES, ids=lambda s: " ".join((s.command, *s.arguments, str(s.code))))
def test_no_canary_is_seen(cage: Cage, surface: Surface) -> None:
    text = cage.text(surface)
    assert text.strip()
    assert check_text(text, PLANTED) == []


def test_the_canaries_were_taken_in_and_the_small_team_is_not_on_the_page(cage: Cage) -> None:
    """Without this, a run that read nothing would pass. The number of the small team's ties is a canary as well."""
    cage.text(_RUN)
    page = cage.text(_PICTURE)
    assert "Large canaries" in page
    assert "other (smaller teams)" in page
    assert "Small canaries" not in page
    assert "Middle canaries" not in page
    assert str(TICKS) not in page


def test_a_surface_that_reveals_is_caught(cage: Cage) -> None:
    """The control: the same search on a view that shows a payload on purpose finds the planted address."""
    cage.text(_RUN)
    listed = json.loads(next(line for line in cage.text(_LETTERS).splitlines() if '"letters"' in line))
    letter = next(its["id"] for its in listed["letters"] if its["code"] == "BAD_JSON")
    shown = cage.text(Surface("dlq", ("show", letter, "--reveal")))
    assert {trace.what for trace in check_text(shown, PLANTED)} == {"e-mail address", "secret"}


TOLD: dict[str, Callable[[Path], str]] = {
    "page": lambda folder: _page(folder),
    "json": lambda _: story_json.text(tell(stories.material()), PLANTED),
    "terminal": lambda _: "\n".join(line.plain for line in story_terminal.lines(tell(stories.material()))),
}


def _page(folder: Path) -> str:
    story_html.write(folder / "full.html", tell(stories.material()), stories.NOW, PLANTED)
    return (folder / "full.html").read_text("utf-8")


@pytest.mark.parametrize("name", TOLD)
def test_the_story_of_a_run_holds_no_canary(name: str, tmp_path: Path) -> None:
    assert check_text(TOLD[name](tmp_path), PLANTED) == []


def test_a_story_with_a_canary_in_a_team_name_is_not_told(tmp_path: Path) -> None:
    for name in (make.person(1), ADDRESS, f"team {KEY}"):
        story = tell(stories.material({"Payments": name}))
        with pytest.raises(Refused, match="LEAK"):
            story_html.write(tmp_path / "full.html", story, stories.NOW, PLANTED)
    assert not (tmp_path / "full.html").exists()
