"""The last look at a text before it leaves."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from pipelines.errors import Refused
from pipelines.privacy.traces import check_text, guard, secrets_of
from pipelines.settings import load
from tests.support.make import outsider, person

SECRET = "s3cr3t/pässword&co"


@pytest.mark.parametrize(
    "id_",
    [
        person(7),
        outsider(7),
        "p_" + "a" * 16,
        "P_" + "A" * 40,
        "person_p_" + "0" * 32,
        f"<b>{person(1)}</b>",
        f"id={person(2)}",
    ],
)
def test_a_pseudonym_is_found_wherever_it_stands(id_: str) -> None:
    assert [trace.what for trace in check_text(f"before {id_} after")] == ["pseudonym"]


@pytest.mark.parametrize(
    "words", ["p_value", "x_" + "a" * 15, "map_" + "a" * 20, "#98c1e4", "shop_" + "0" * 32, "@media print{:root{}}"]
)
def test_ordinary_words_of_a_page_are_not(words: str) -> None:
    assert check_text(words) == []


def test_an_address_is_found_also_when_it_is_escaped() -> None:
    for text in ("ann.b@corp.example.org", "mailto:ann%40corp.org", "ann&#64;corp.org", '"ann\\u0040corp.org"'):
        assert [trace.what for trace in check_text(text)] == ["e-mail address"], text


@pytest.mark.parametrize(
    "written", [SECRET, SECRET.upper(), quote(SECRET), "s3cr3t/p&auml;ssword&amp;co", json.dumps(SECRET)]
)
def test_a_secret_is_found_in_any_writing(written: str) -> None:
    assert [trace.what for trace in check_text(f"<p>{written}</p>", [SECRET])] == ["secret"]


def test_empty_and_tiny_secrets_would_match_everything_and_are_left_out() -> None:
    assert check_text("the graph is neo4j", ["", "neo4j"]) == []


def test_the_refusal_does_not_repeat_what_it_found() -> None:
    with pytest.raises(Refused) as caught:
        guard(f"about {person(3)}")
    assert caught.value.code == "LEAK"
    assert person(3) not in str(caught.value)
    assert guard("nothing") == "nothing"


def test_secrets_are_those_of_the_settings_with_the_password_of_a_url() -> None:
    config = load(
        postgres_url=SecretStr("postgresql://organism:hunter2222@db/x"),
        pseudonym_key=SecretStr("k" * 32),
        _env_file=None,
    )
    assert {"k" * 32, "hunter2222", "postgresql://organism:hunter2222@db/x"} <= set(secrets_of(config))
    assert "" not in secrets_of(load(_env_file=None))
