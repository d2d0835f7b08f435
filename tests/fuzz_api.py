"""`python -m tests.fuzz_api`: schemathesis against our own OpenAPI document, on a running API with real stores.

Every answer must be one that the document describes, of a described shape, and none an error of ours (5xx). The user has all
roles, so that every route is entered; runs that a start begins are real ones. What was found is schemathesis' own report.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import api_site

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method", "ignored_auth",
)  # fmt: skip
ALL_ROLES = ("viewer", "analyst", "approver", "operator", "admin")
#: One logs us out, and so ends the fuzz; pages for people are not in the document.
_LEFT_OUT = "/api/v1/auth/logout"


@contextmanager
def somewhere() -> Iterator[api_site.Site]:
    with api_site.folder() as folder:
        generous = {"ORGANISM_API_RATE": "100000", "ORGANISM_TOKEN_MINUTES": "600"}
        with api_site.running(folder, roles=ALL_ROLES, **generous) as site:
            yield site


def command(site: api_site.Site, examples: int, seed: int, report: Path) -> list[str]:
    return [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{site.url}/openapi.json",
        "--header", f"Authorization: {site.login()['Authorization']}", "--checks", ",".join(CHECKS),
        "--phases", "examples,coverage,fuzzing", "--max-examples", str(examples), "--seed", str(seed),
        "--exclude-path", _LEFT_OUT, "--continue-on-failure", "--warnings", "off", "--suppress-health-check", "all",
        "--report", "ndjson", "--report-ndjson-path", str(report), "--request-timeout", "30", "--no-color",
    ]  # fmt: skip


def answers(report: Path) -> Counter[int]:
    """How often each status was answered, by the report's events."""
    found: Counter[int] = Counter()
    with open(report, encoding="utf-8") as lines:
        for line in lines:
            found.update(_statuses(json.loads(line)))
    return found


def _statuses(event: Any) -> Iterator[int]:
    if isinstance(event, dict):
        if isinstance(event.get("status_code"), int):
            yield event["status_code"]
        for part in event.values():
            yield from _statuses(part)
    elif isinstance(event, list):
        for part in event:
            yield from _statuses(part)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_api", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--examples", type=int, default=400, help="most cases of each operation (default 400)")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    with somewhere() as site, api_site.folder() as folder:
        report = folder / "report.ndjson"
        done = subprocess.run(command(site, wanted.examples, wanted.seed, report), timeout=7_200)
        found = answers(report)
    print(f"{found.total():,} answers: " + ", ".join(f"{code} {n:,}" for code, n in sorted(found.items())))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
