"""The nouns of access: what a user may be allowed to do, and who stands behind a request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """No ladder: each role may do what the table of the API grants it, and a user may have several."""

    VIEWER = "viewer"  # runs, health, proposals
    ANALYST = "analyst"  # findings and points, of groups
    APPROVER = "approver"  # decides on proposals
    OPERATOR = "operator"  # starts, cancels, repeats, puts dead letters back
    ADMIN = "admin"  # the audit log; users are made on the command line


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. name: of the user, an accountable person or a machine of theirs. credential: the id of the key or token."""

    name: str
    roles: frozenset[Role]
    credential: str
