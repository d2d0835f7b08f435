"""Canaries in every setting, in events, names and errors; then runs that go well and runs that fail, under a real Prefect
server at its most talkative. Nothing of it may be in a log, in Prefect's database, in our account or in what was sent.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest

from alerts.settings import AlertSettings
from pipelines import wiring
from pipelines.privacy.traces import check_text
from pipelines.settings import Settings
from tests.conftest import opened
from tests.support import faults, faults_canaries
from tests.support.faults import Place
from tests.support.faults_canaries import ADDRESS, CONTENT, SECRETS, SMALL, TEAM

PROGRAM = ("-m", "tests.support.faults_canaries")
TALKATIVE = {
    "ORGANISM_LOG_LEVEL": "DEBUG",
    "PREFECT_LOGGING_LEVEL": "DEBUG",
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2",
    "ORGANISM_BREAKER_SHARE": "1",
}
#: Of the account and of alerting: no person has a place there. People's own tables hold pseudonyms, which is their purpose.
TABLES = ("workflow_runs", "workflow_steps", "alert_incidents", "alert_deliveries", "alert_threads")


@dataclass(frozen=True)
class Flight:
    """What was left where, as text by its name; and what must not be in it."""

    texts: dict[str, str]
    forbidden: list[str]
    ended: dict[str, list[object]]

    def traces(self, name: str) -> list[str]:
        """Planted words and pseudonyms; other addresses (of alert mails) are none of them."""
        found = check_text(self.texts[name], self.forbidden)
        return [f"{t.what} at {t.at}: {self.texts[name][max(0, t.at - 80) : t.at + 10]!r}" for t in found
                if t.what != "e-mail address"]  # fmt: skip


def variables(place: Place) -> dict[str, str]:
    """A canary in every setting that can hold a secret."""
    sinks = place.sinks
    return {
        "ORGANISM_PSEUDONYM_KEY": SECRETS["pseudonym_key"],
        "ORGANISM_AUDIT_KEY": SECRETS["audit_key"],
        "ALERT_WEBHOOK_SECRET": SECRETS["webhook_secret"],
        "ALERT_WEBHOOK_URL": f"{sinks.webhook.url}?token={SECRETS['webhook_url']}",
        "ALERT_SMTP_URL": sinks.mail.url.replace("://", f"://organism:{SECRETS['smtp_password']}@"),
        "PREFECT_API_AUTH_STRING": f"admin:{SECRETS['prefect_auth']}",
    }


def servers(place: Place) -> list[str]:
    """Secrets that are real: passwords of the embedded servers, Slack's path and token, the key of the DSN."""
    where, slack = place.where, place.sinks.slack
    passwords = [urlsplit(url).password for url in (where.redis, where.postgres)]
    return [p for p in (*passwords, where.graph_password, slack.path, slack.token, place.sinks.sentry.key) if p]


@pytest.fixture(scope="module")
def flight(embedded: wiring.Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flight]:
    folder = tmp_path_factory.mktemp("flight")
    home = folder / "server"
    home.mkdir()
    auth = f"admin:{SECRETS['prefect_auth']}"
    with pytest.MonkeyPatch.context() as patch, opened(embedded) as stores:
        patch.setitem(Settings.model_config, "env_file", None)
        patch.setitem(AlertSettings.model_config, "env_file", None)
        with (
            faults.place(embedded, folder, patch) as place,
            faults.prefect_server(home, PREFECT_SERVER_API_AUTH_STRING=auth) as server,
        ):
            more = servers(place)
            place.environment |= {**TALKATIVE, **variables(place), "PREFECT_API_URL": server.url}
            place.environment["MORE_CANARIES"] = json.dumps(more)
            now = faults_canaries.now()
            stores.stream.append(list(faults_canaries.planted(now)))
            ran = [fly(place, "good")]
            stores.stream.append(list(faults_canaries.renamed(now)))
            ran.append(fly(place, "good"))
            place.environment |= place.sinks.bot
            ran.append(fly(place, "foreign"))
            ran.append(fly(place, "good", **away()))
            texts = kept(place) | {"slack, webhook, Sentry, mail": place.sinks.bodies()}
            ours = place.log.read_text("utf-8", "replace")
            naive = fly(place, "naive")
            texts["log of the control"] = place.log.read_text("utf-8", "replace")[len(ours) :]
            texts["processes, at DEBUG"] = ours
        texts |= prefect_kept(server.database)
        texts |= {f"file {p.relative_to(folder)}": p.read_text("utf-8", "replace") for p in files(folder)}
        forbidden = [*faults_canaries.canaries(), *more, SMALL, *faults_canaries.people()]
        forbidden += [quote(word) for word in forbidden]
        ended = {f"{n} {how}": codes for n, one in enumerate((*ran, naive)) for how, codes in one.items()}
        yield Flight(texts, forbidden, ended)


def fly(place: Place, how: str, **rest: str) -> dict[str, list[object]]:
    """How the program says that its runs ended."""
    before = len(faults.lines(place.log))
    assert place.done(*PROGRAM, how, **rest) == 0, "\n".join(faults.lines(place.log)[before:][-40:])
    said = [line for line in faults.lines(place.log)[before:] if line.startswith(f'{{"{how}"')]
    found: dict[str, list[object]] = json.loads(said[-1])
    return found


def away() -> dict[str, str]:
    """Stores that nobody answers for, with passwords in their URLs."""
    word = SECRETS["away"]
    return {
        "ORGANISM_REDIS_URL": f"redis://:{word}@127.0.0.1:9/0",
        "ORGANISM_POSTGRES_URL": f"postgresql://organism:{word}@127.0.0.1:9/organism",
    }


def kept(place: Place) -> dict[str, str]:
    with psycopg.connect(place.where.postgres) as connection:
        found = {}
        for table in TABLES:
            rows = connection.execute(f"SELECT to_jsonb(t)::text FROM {table} t").fetchall()  # type: ignore[call-overload]
            found[f"our table {table}"] = "\n".join(row for (row,) in rows)
        people = connection.execute("SELECT to_jsonb(r)::text FROM roster_history r").fetchall()
        return found | {"tables that hold people": "\n".join(row for (row,) in people)}


def prefect_kept(database: Path) -> dict[str, str]:
    """Every table of Prefect's database; the rows of the control, which are known by its flow run, by themselves."""
    found = {}
    with sqlite3.connect(database) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        control = {row[0] for row in connection.execute(
            "SELECT r.id FROM flow_run r JOIN flow f ON f.id = r.flow_id WHERE f.name = 'naive'")}  # fmt: skip
        control |= {row[0] for row in connection.execute("SELECT id, flow_run_id FROM task_run") if row[1] in control}
        for table in tables:
            rows = [str(row) for row in connection.execute(f'SELECT * FROM "{table}"')]
            naive = [row for row in rows if any(id_ in row or id_.replace("-", "") in row for id_ in control)]
            found[f"Prefect's table {table}"] = "\n".join(row for row in rows if row not in set(naive))
            found[OF_THE_CONTROL[0]] = "\n".join((found.get(OF_THE_CONTROL[0], ""), *naive))
    return found


def files(folder: Path) -> Iterator[Path]:
    """All that was written but Prefect's database and the processes' output, which are read in parts."""
    apart = ("prefect.db", "processes.log")
    yield from (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(apart))


OF_THE_CONTROL = ("Prefect's rows of the control", "log of the control")


def test_the_runs_went_well_and_failed_as_they_should(flight: Flight) -> None:
    """Without this, runs that did nothing would pass. incremental, full, verify, watch; then the same with a team's new name,
    with errors that are not ours, with stores away (which the watch only reports), and the control.
    """
    assert list(flight.ended.values()) == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0], ["naive"]]
    rows = flight.texts["our table workflow_runs"]
    assert rows.count("RuntimeError at ") == 4, "the errors that quote every canary, each by its kind and place"
    assert rows.count('"error_kind": "defect"') == 4
    sent = flight.texts["slack, webhook, Sentry, mail"]
    assert (
        all(f"{flow} failed" in sent for flow in ("incremental", "full", "verify", "watch")) and "RuntimeError" in sent
    )


def test_what_was_planted_was_taken_in_or_set_aside(flight: Flight) -> None:
    """Of a team that is called by an address nothing is taken in; a small team is, and is shown nowhere."""
    held, rows = flight.texts["tables that hold people"], flight.texts["our table workflow_runs"]
    assert SMALL in held and faults_canaries.make.person(100) in held
    assert TEAM not in held and '"dead_letters": 9' in rows


def test_nothing_that_was_planted_is_seen_anywhere(flight: Flight) -> None:
    apart = (*OF_THE_CONTROL, "tables that hold people")
    searched = [name for name in flight.texts if name not in apart]
    assert {name: traces[:6] for name in searched if (traces := flight.traces(name))} == {}
    assert len(searched) > 40 and all(flight.texts[f"our table {name}"] for name in TABLES[:4])
    for name in ("log", "flow_run_state", "events", "artifact", "task_run"):
        assert flight.texts[f"Prefect's table {name}"], name


@pytest.mark.parametrize("name", OF_THE_CONTROL)
def test_a_plain_flow_shows_all_of_it(flight: Flight, name: str) -> None:
    """The control: the same search finds every planted word and the pseudonym."""
    assert {trace.what for trace in check_text(flight.texts[name], flight.forbidden)} >= {"secret", "pseudonym"}
    planted = [ADDRESS, CONTENT, *SECRETS.values()]
    assert [word for word in planted if word not in flight.texts[name]] == []
