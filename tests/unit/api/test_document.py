"""What is written about the API is what it is."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.api.table import TABLE, as_markdown

_PAGE = (Path(__file__).parents[3] / "docs/api.md").read_text("utf-8")


def test_the_page_has_the_table_of_roles_and_routes() -> None:
    assert as_markdown(TABLE) in _PAGE, 'python -c "from pipelines.api.table import *; print(as_markdown(TABLE))"'


def test_the_paths_of_the_walk_exist() -> None:
    walked = {re.sub(r"\$\w+", "{}", path) for path in re.findall(r"\$api(/[\w$./-]+)", _PAGE)}
    known = {re.sub(r"{\w+}", "{}", path) for _, path in TABLE}
    assert walked and walked <= known
