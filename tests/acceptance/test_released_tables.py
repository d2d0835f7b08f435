"""What leaves a full run: whatever is added and subtracted, no group under k comes back; and no canary is seen anywhere.

The attack here is its own: it knows who is in which team and what was shown, and tries every combination of it. It shares
no code with the privacy sink.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from pipelines import wiring
from pipelines.errors import Refused
from pipelines.evidence import SubjectKind
from pipelines.jobs import causal as analysis
from pipelines.jobs import telling
from pipelines.jobs.full import FullRun
from pipelines.metrics.weeks import team_weeks
from pipelines.model import Lane
from pipelines.person_weeks import COLUMNS, WeekRows
from pipelines.privacy.sink import recoverable, release
from pipelines.privacy.tables import Released, Shown, keys_of, teams_of
from pipelines.privacy.traces import check_text
from pipelines.report import story_html, story_json, story_telling, story_terminal
from pipelines.report.measures import MEASURES
from pipelines.report.story import Note, RunFacts, Story
from pipelines.report.story_telling import Material, tables, tell
from tests.support import full_runs, make
from tests.support.full_runs import END, NOW, ROOT, Site

K = 5
#: One team of one and one of three: together fewer than k, so that hiding these two alone protects nobody.
SEED = 4
ADDRESS = "canary.bird@corp.example"


@dataclass(frozen=True)
class Ran:
    """A site after a run, what there was to tell of it, and what was told."""

    site: Site
    done: FullRun
    material: Material
    story: Story
    rows: WeekRows
    folder: Path
    said: dict[str, SimpleNamespace] = field(default_factory=dict)

    def told_by(self, name: str) -> SimpleNamespace:
        """All that a command says at its most talkative, and the page that it writes; asked once."""
        if name not in self.said:
            self.said[name] = _ask(self, SURFACES[name])
        return self.said[name]


@pytest.fixture(scope="module")
def ran(embedded: wiring.Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    payloads = [*full_runs.organisation(seed=SEED), make.event("canary", ADDRESS, [make.person(1)])]
    folder = tmp_path_factory.mktemp("told")
    with full_runs.site(embedded, folder, payloads) as site:
        done = site.run()
        with site.stores() as stores:
            (folder / "findings").write_bytes(analysis.pack(stores.points.findings(full_runs.RUN)))
            material = telling.material_of(stores, done, K)
            (*_, last) = stores.weeks.rows((END - timedelta(weeks=2)).date(), END.date())
        yield Ran(site, done, material, tell(material), last, folder)


# ------------------------------------------------------------------------------------------------ the attack


@dataclass(frozen=True)
class Cell:
    """A number that was shown, and the teams whose people are behind it ("" are those of no team)."""

    name: str
    teams: frozenset[str]


def people_of(rows: WeekRows, view: str) -> dict[str, int]:
    """How many people of each team have a value that week; "" are those of no team."""
    worked = rows.values["working_days"] > 0
    values = rows.strain if view == "strain" else rows.values[view]
    counts: dict[str, int] = {}
    for team, value, is_there in zip(rows.teams, values, worked, strict=True):
        if is_there and value == value:
            counts[team or ""] = counts.get(team or "", 0) + 1
    return counts


def shown_in(document: Mapping[str, Any], view: str, teams: Collection[str]) -> list[Cell]:
    """The cells of a measure that hold a number, as the JSON of the story has them."""
    place = [measure["view"] for measure in document["measures"]].index(view)
    found = []
    for row in document["rows"]:
        if row["cells"][place]["value"] is not None:
            subject = row["subject"]
            found.append(Cell(subject, frozenset([subject]) if row["kind"] == "team" else frozenset(teams)))
    return found


def exposed(cells: Sequence[Cell], people: Mapping[str, int], k: int = K) -> set[frozenset[str]]:
    """Every group of fewer than k people whose sum follows: all cells times -1, 0 and 1, in every combination.

    Means count as sums, because how many people are in a team is known.
    """
    atoms = sorted(people)
    matrix = np.array([[team in cell.teams for team in atoms] for cell in cells], dtype=np.int8)
    sizes = np.array([people[team] for team in atoms])
    found: set[frozenset[str]] = set()
    for signs in product((-1, 0, 1), repeat=len(cells)):
        left = np.array(signs, dtype=np.int8) @ matrix
        if 0 < sizes[left != 0].sum() < k:
            found.add(frozenset(team for team, is_left in zip(atoms, left, strict=True) if is_left))
    return found


def primary_only(cells: Sequence[Cell], people: Mapping[str, int]) -> list[Cell]:
    """What most people release: every cell of k people or more."""
    everybody = Cell("", frozenset(people))
    teams = [Cell(team, frozenset([team])) for team, size in people.items() if team and size >= K]
    assert {cell.name for cell in cells} <= {cell.name for cell in (everybody, *teams)}
    return [everybody, *teams]


@pytest.mark.parametrize("view", [measure.view for measure in MEASURES])
def test_no_combination_of_what_was_shown_gives_a_group_under_k(ran: Ran, view: str) -> None:
    people = people_of(ran.rows, view)
    document = json.loads(story_json.text(ran.story))
    cells = shown_in(document, view, people)
    assert len(cells) > 3  # or nothing was attacked
    assert exposed(cells, people) == set()


def test_the_attack_finds_what_hiding_small_teams_alone_gives_away(ran: Ran) -> None:
    """The control: the same combinations, of every cell of k people or more."""
    people = people_of(ran.rows, "meeting_h")
    small = {team for team, size in people.items() if team and size < K}
    cells = shown_in(json.loads(story_json.text(ran.story)), "meeting_h", people)
    assert len(small) == 2
    assert frozenset(small | ({""} & people.keys())) in exposed(primary_only(cells, people), people)


def test_the_audit_of_the_sink_finds_nothing_over_all_tables_of_the_run(ran: Ran) -> None:
    found = tables(ran.material)
    assert recoverable(found, as_told(ran.material), K) == []
    assert len({key for key, *_ in keys_of(found)}) > 300


def test_the_audit_finds_what_hiding_small_groups_alone_gives_away(ran: Ran) -> None:
    """The control: only what is itself about too few is hidden."""
    sizes = ran.material.team_sizes
    cells = {}
    for key, _, cell in keys_of(tables(ran.material)):
        pair = teams_of(cell.kind, cell.subject) if cell.kind is SubjectKind.TEAM_PAIR else ()
        hidden = cell.people < K or any(sizes.get(team, 0) < K for team in pair)
        cells[key] = Shown(cell.kind, cell.subject, None if hidden else cell.value, hidden)
    assert recoverable(tables(ran.material), Released(K, cells), K)


def as_told(material: Material) -> Released:
    return release(tables(material), K, material.team_sizes, hide_first=story_telling._hidden_in(material))


def test_the_story_shows_exactly_what_was_released(ran: Ran) -> None:
    """So that what was attacked is what people see: the newest value of each team, and its strain week by week."""
    out = as_told(ran.material)
    released = {key: shown.value for key, shown in out.cells.items() if shown.value is not None}
    newest = {
        (series.view, series.kind): f"{series.view}@{series.version} {series.time_ms}" for series in ran.material.latest
    }
    seen = {
        (newest[measure.view, row.kind], row.kind, row.subject): cell.value
        for row in ran.story.rows
        for measure, cell in zip(ran.story.measures, row.cells, strict=True)
        if cell.value is not None
    }
    told = {measure.view for measure in MEASURES}
    wanted = {key for view, key in newest.items() if view[0] in told}
    assert seen == {key: value for key, value in released.items() if key[0] in wanted}


# ------------------------------------------------------------------------------------------------ many organisations


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_sizes_of_the_teams_are_nothing_under_k_comes_back(seed: int) -> None:
    """Six to eight teams of one to nine people, some of whom have no team, or no value that week."""
    rows, sizes = drawn(np.random.default_rng(seed))
    told = tell(
        Material(
            run=RunFacts("full-1", NOW, 1.0, (NOW, NOW), K),
            measures=MEASURES, latest=team_weeks(rows), team_sizes=sizes,
        )
    )  # fmt: skip
    document = story_json.as_dict(told)
    for view in ("strain", "meeting_h"):
        people = people_of(rows, view)
        assert exposed(shown_in(document, view, people), people) == set()


def drawn(rng: np.random.Generator) -> tuple[WeekRows, dict[str, int]]:
    sizes = {f"team {n}": int(rng.integers(1, 10)) for n in range(int(rng.integers(6, 9)))}
    teams = [name for name, size in sizes.items() for _ in range(size)] + [None] * int(rng.integers(0, 4))
    count = len(teams)
    values = {name: rng.uniform(1, 5, count) for name in COLUMNS}
    strain = np.where(rng.random(count) < 0.2, np.nan, rng.uniform(20, 60, count))
    people = tuple(make.person(n) for n in range(count))
    return WeekRows(date(2026, 2, 23), people, tuple(teams), values, strain, {}), sizes


# ------------------------------------------------------------------------------------------------ canaries


@dataclass(frozen=True)
class Surface:
    """The command with these arguments: with which code it ends, and whether it makes a page."""

    arguments: tuple[str, ...]
    code: int = 0
    page: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


PASSWORD = "canary-password"
SURFACES = {
    "terminal": Surface(()),
    "json": Surface(("--json",)),
    "json log": Surface(("--no-propose",), environment={"ORGANISM_LOG_FORMAT": "json"}),
    "text log": Surface(("--no-propose",), environment={"ORGANISM_LOG_FORMAT": "text"}),
    "resumed": Surface(("--resume", full_runs.RUN)),
    "nothing to resume": Surface(("--resume", "full-2020-01-01T00"), 2, page=False),
    "no postgres": Surface(
        (), 1, page=False,
        environment={"ORGANISM_POSTGRES_URL": f"postgresql://organism:{PASSWORD}@127.0.0.1:1/none"},
    ),
    "no graph": Surface((), 1, page=False, environment={"ORGANISM_GRAPH_URL": "bolt://127.0.0.1:1"}),
    "wrong password": Surface((), 1, page=False, environment={"ORGANISM_GRAPH_PASSWORD": PASSWORD}),
}  # fmt: skip


def planted(ran: Ran) -> list[str]:
    """Everybody's pseudonym without its prefix, the address, every password on the way to the servers, and the keys."""
    where = ran.site.where
    with ran.site.stores() as stores:
        people = [person.partition("_")[2] for person, _ in stores.graph.people()]
    urls = [urlsplit(url).password or "" for url in (where.redis, where.postgres)]
    return [*people, ADDRESS, "canary.bird", PASSWORD, where.graph_password, full_runs.AUDIT_KEY, *filter(None, urls)]


def _ask(ran: Ran, surface: Surface) -> SimpleNamespace:
    page = ran.folder / "page.html"
    extra = {"ORGANISM_LOG_LEVEL": "DEBUG", "FINDINGS": str(ran.folder / "findings"), **surface.environment}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.full_runs", "command", "--direct", "--html", str(page), *surface.arguments],
        env=full_runs.environment(ran.site, **extra), cwd=ROOT, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == surface.code, done.stderr + done.stdout
    html = page.read_text("utf-8") if surface.page else ""
    return SimpleNamespace(out=done.stdout, err=done.stderr, page=html, all="\n".join((done.stdout, done.stderr, html)))


@pytest.mark.parametrize("name", SURFACES)
def test_no_canary_is_seen_on_any_surface(ran: Ran, name: str) -> None:
    said = ran.told_by(name)
    assert check_text(said.all, planted(ran)) == []
    assert len(said.err) > 20  # something was said there
    if SURFACES[name].page:
        assert "<svg" in said.page
        assert "Platform" in said.out + said.page


def test_json_is_one_object_on_standard_output_and_nothing_else(ran: Ran) -> None:
    said = ran.told_by("json")
    document = json.loads(said.out)
    assert document["run"]["id"] == full_runs.RUN
    assert [step["name"] for step in document["steps"]] == list(full_runs.STEPS)
    assert said.out.count("\n") == 1


def test_the_canaries_are_really_there(ran: Ran) -> None:
    """Without this, a run on other data would pass."""
    with wiring.stores(ran.site.config, ran.site.where) as stores:
        (letter,) = stores.letters.list(Lane.DEAD)
        assert letter.code == "RAW_IDENTIFIER"
        assert len([person for person, _ in stores.graph.people()]) >= 48
    assert len(planted(ran)) > 48


@pytest.mark.parametrize("trace", ["pseudonym", "address", "secret"])
def test_a_story_with_a_canary_in_it_is_caught_and_not_told(ran: Ran, trace: str, tmp_path: Path) -> None:
    """The control: the same search finds each of them on each surface, and the guard lets none of them out."""
    canaries = {"pseudonym": ran.rows.people[0], "address": ADDRESS, "secret": full_runs.AUDIT_KEY}
    story = replace(ran.story, notes=(Note(f"Ask {canaries[trace]} about it."), *ran.story.notes))
    forbidden = [full_runs.AUDIT_KEY]
    surfaces = {
        "page": story_html.render(story, NOW),
        "json": json.dumps(story_json.as_dict(story)),
        "terminal": "\n".join(line.plain for line in story_terminal.lines(story)),
    }
    assert [name for name, text in surfaces.items() if not check_text(text, forbidden)] == []
    with pytest.raises(Refused, match="LEAK"):
        story_html.write(tmp_path / "page.html", story, NOW, forbidden)
    with pytest.raises(Refused, match="LEAK"):
        story_json.text(story, forbidden)
    with pytest.raises(Refused, match="LEAK"):
        story_terminal.show(story, forbidden=forbidden)
    assert not (tmp_path / "page.html").exists()
