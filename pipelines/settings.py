"""Every setting, read once from the environment at the edge; nothing below this reads the environment.

Each is `ORGANISM_` and the name in capitals, or a line in `.env`. The table in docs/settings.md is generated from here.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from alerts import wrong_values
from pipelines.errors import InvalidInput


def _horizon(value: Any) -> Any:
    if isinstance(value, str) and value.strip().lower() == "forever":
        return None
    if isinstance(value, str) and value.strip().removesuffix("d").isdigit():
        return timedelta(days=int(value.strip().removesuffix("d")))
    if isinstance(value, str) and not value.strip().upper().startswith("P"):  # P30D: as ISO 8601 writes it
        raise ValueError("expected days such as 30d, or forever")
    return value


def _address(value: str) -> str:
    """Nothing of it is a secret: it goes into messages."""
    if value and not re.fullmatch(r"https?://[^\s/@?#|<>\"']+(/[^\s@?#|<>\"']*)?", value):
        raise ValueError("expected http:// or https:// and a host, without a user, a password or a query")
    return value


class Retries(BaseModel):
    """What may be set of a step's retry policy; `pipelines.steps.RETRIES` has the defaults. Delays in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempts: int | None = Field(None, ge=1, le=10)
    base_s: float | None = Field(None, ge=0)
    factor: float | None = Field(None, ge=1)


class Settings(BaseSettings):
    """Frozen. Times are in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="ORGANISM_", env_file=".env", extra="ignore", frozen=True)

    redis_url: SecretStr | None = Field(None, description="redis://user:password@host:port/0; unset: embedded Valkey")
    cache_url: SecretStr | None = Field(None, description="a second Redis for the cache; unset: the one of the stream")
    graph_url: str | None = Field(None, description="bolt://host:port or neo4j+s://host; unset: embedded graph server")
    graph_user: str = Field("neo4j", description="user of the graph server; empty: no authentication")
    graph_password: SecretStr = Field(SecretStr(""), description="password of the graph server")
    graph_database: str = Field("neo4j", description="database on the graph server")
    postgres_url: SecretStr | None = Field(
        None, description="postgresql://user:password@host/db; unset: embedded PostgreSQL"
    )
    state_dir: Path | None = Field(None, description="where the embedded servers, the outbox and the keys live")

    pseudonym_key: SecretStr | None = Field(
        None, description="secret of the pseudonyms; unset: a file in the state directory"
    )
    min_group_size: int = Field(5, ge=5, description="k: no output shows a group smaller than this; may only be raised")

    horizon: Annotated[timedelta | None, BeforeValidator(_horizon)] = Field(
        timedelta(days=30), description="how long event keys are remembered, such as 30d, or forever"
    )
    batch_size: int = Field(1_000, ge=1, le=5_000, description="events applied in one graph transaction")
    window_size: int = Field(
        50_000, ge=1, description="entries handed from fetch_interactions to update_graph_incremental"
    )
    time_budget_s: float = Field(200, gt=0, description="a run stops after this and leaves the rest to the next one")
    claim_idle_s: float = Field(900, ge=0, description="entries that another consumer left for this long are adopted")
    lease_s: float = Field(60, gt=0, description="a writer that is silent for this long may be replaced")
    breaker_share: float = Field(
        0.2, gt=0, le=1, description="a batch with more invalid entries than this stops the line"
    )
    breaker_min: int = Field(100, ge=1, description="smaller batches never stop the line")
    stream_keep_h: float = Field(
        26, ge=0, description="hours that applied entries stay on the stream, to replay after a restore"
    )
    stream_cap: int = Field(5_000_000, ge=1, description="publish refuses to grow the stream beyond this many entries")
    archive_days: int = Field(400, ge=1, description="days of single interactions in the archive; then only their sums")
    window_days: int = Field(84, ge=7, description="days of the graph that the full analysis looks at")
    shadow: bool = Field(True, description="proposals are shown and cannot be approved: how a new installation starts")
    zone: str = Field("UTC", description="IANA zone of the dates on which nothing is proposed")
    blackout: str = Field(
        "", description="days without interventions, such as 2026-12-24/2027-01-01 year end; 2027-05-01"
    )
    better: str = Field("", description="which way own survey measures improve, such as focus=more; pain=less")
    audit_key: SecretStr | None = Field(
        None, description="secret of the audit log; unset: a file in the state directory"
    )
    history_weeks: int = Field(52, ge=9, description="weeks of people that the causal analysis looks at")
    points_days: int = Field(800, ge=200, description="days that the time series keep their points, by whole months")
    runs_days: int = Field(400, ge=7, description="days that the account of runs keeps ended runs")
    causal_engine: str = Field(
        "auto",
        pattern="^(auto|in_memory|out_of_core|distributed)$",
        description="where the regressions run; auto: by the size of the panel",
    )
    dask_scheduler: str = Field("", description="tcp://host:8786 of an existing Dask cluster, for very large panels")
    retries: dict[str, Retries] = Field(
        {}, description='changes to the retry table, such as {"store_metrics": {"attempts": 6, "base_s": 10}}'
    )
    run_again_s: float = Field(
        5, ge=0, description="seconds until a run whose stores could not be opened is tried once more"
    )
    api_host: str = Field("127.0.0.1", description="address on which the API listens")
    api_port: int = Field(8080, ge=0, le=65_535, description="port on which the API listens; 0: any that is free")
    api_url: Annotated[str, AfterValidator(_address)] = Field(
        "", description="where people reach the API, for links, such as https://organism.example; empty: no links"
    )
    api_origins: str = Field("", description="web origins that may call the API from a browser; empty: none")
    api_rate: float = Field(1, gt=0, description="multiplies all rate limits of the API")
    max_runs: int = Field(10, ge=1, description="runs that may be open when one is started without Prefect")
    token_minutes: float = Field(30, gt=0, le=1_440, description="minutes that a login to the API lasts")
    log_format: str = Field(
        "auto", pattern="^(auto|text|json)$", description="auto: text on a terminal, JSON elsewhere"
    )
    log_level: str = Field(
        "WARNING", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="least severity that is logged"
    )

    @model_validator(mode="after")
    def _archive_covers_horizon(self) -> Settings:
        if self.horizon is not None and timedelta(days=self.archive_days) < self.horizon:
            raise ValueError(
                "ORGANISM_ARCHIVE_DAYS must not be below ORGANISM_HORIZON: a withdrawal could not be recounted"
            )
        return self


_NO_TABLE = 'expected JSON such as {"store_metrics": {"attempts": 6, "base_s": 10}}'
#: Where containers find secrets as files, one a setting: /run/secrets/organism_postgres_url.
_SECRETS = Path("/run/secrets")


def secrets_dir() -> Path | None:
    """The directory with secrets as files, if there is one. ORGANISM_SECRETS_DIR names another."""
    place = Path(os.environ.get("ORGANISM_SECRETS_DIR", _SECRETS))
    return place if place.is_dir() else None


def load(**overrides: Any) -> Settings:
    """The settings of this process: from the environment, from `.env`, from files of secrets; the first that is there.

    Raises:
        InvalidInput: names each wrong variable and what was expected; never shows a value, it may be a secret.
    """
    try:
        return Settings(**{"_secrets_dir": secrets_dir(), **overrides})
    except ValidationError as error:
        wrong = [_words(dict(e)) for e in error.errors(include_input=False, include_url=False)]
        raise InvalidInput("wrong settings: " + "; ".join(wrong)) from None
    except SettingsError:  # of what is no JSON at all, which only one of them is
        raise InvalidInput(f"wrong settings: ORGANISM_RETRIES: {_NO_TABLE}") from None


def misspelt() -> list[str]:
    """A sentence for every variable of ours that is no setting: a mistyped name silently means the default."""
    known = {f"ORGANISM_{name.upper()}" for name in Settings.model_fields} | {"ORGANISM_SECRETS_DIR"}
    unknown = sorted(n for n in os.environ if n.upper().startswith("ORGANISM_") and n.upper() not in known)
    close = {name: difflib.get_close_matches(name.upper(), known, 1) for name in unknown}
    return [
        f"{name} is not a setting" + (f"; {near[0]} is" if near else "; docs/settings.md lists them")
        for name, near in close.items()
    ]


def _words(error: Mapping[str, Any]) -> str:
    where = error["loc"]
    if not where:  # a check of ours, of several settings together
        return str(error["msg"]).removeprefix("Value error, ")
    name = str(where[0])
    said = (
        _of_retries(where[1:], error) if name == "retries" else wrong_values.words(Settings.model_fields[name], error)
    )
    return f"ORGANISM_{name.upper()}: {said}"


def _of_retries(where: Sequence[int | str], error: Mapping[str, Any]) -> str:
    """where: step and field, as far as they are known."""
    if len(where) < 2:
        return f"{where[0]}: {_NO_TABLE}" if where else _NO_TABLE
    field = Retries.model_fields.get(str(where[1]))
    if field is None:
        return f"{where[0]}: expected nothing but {', '.join(Retries.model_fields)}"
    return f"{where[1]} of {where[0]}: {wrong_values.words(field, error)}"
