"""Which program copies a database, and what it is told."""

from __future__ import annotations

import pytest

from deployments import postgres_copy
from pipelines.errors import PermanentError


def installed(monkeypatch: pytest.MonkeyPatch, *versions: str) -> None:
    monkeypatch.setattr(postgres_copy, "_candidates", lambda name: [f"/{v}/{name}" for v in versions])
    monkeypatch.setattr(postgres_copy, "_version", lambda path: path.split("/")[1])


@pytest.mark.parametrize(("server", "chosen"), [(14, "15.2"), (15, "15.2"), (16, "17.1"), (17, "17.1"), (18, "18.4")])
def test_the_program_nearest_to_the_server_is_taken_and_never_an_older_one(
    monkeypatch: pytest.MonkeyPatch, server: int, chosen: str
) -> None:
    installed(monkeypatch, "18.4", "15.2", "17.1")
    assert postgres_copy.tool("pg_dump", server) == (f"/{chosen}/pg_dump", chosen)


def test_no_program_that_is_new_enough_is_said_with_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "15.2")
    with pytest.raises(PermanentError, match=r"PostgreSQL 18 is here \(found: 15\.2\).*18 or later"):
        postgres_copy.tool("pg_dump", 18)


def test_the_password_goes_by_environment_and_foreign_variables_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    seen = postgres_copy.environment("postgresql://me:hush%20hush@here:5433/data")
    ours = {name: value for name, value in seen.items() if name in ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE")}
    assert ours == {"PGHOST": "here", "PGPORT": "5433", "PGUSER": "me", "PGDATABASE": "data"}
    assert seen["PGPASSWORD"] == "hush hush"
    assert "PGOPTIONS" not in seen


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg"])
def test_a_url_of_sqlalchemy_is_read_as_one_of_libpq(scheme: str) -> None:
    assert postgres_copy.plain(f"{scheme}://me@here/data") == "postgresql://me@here/data"
