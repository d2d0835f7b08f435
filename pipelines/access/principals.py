"""The nouns of access: what a user may be allowed to do, who stands behind a request, and what proves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """No ladder: each role may do what the table of the API grants it, and a user may have several."""

    VIEWER = "viewer"  # runs, health, proposals
    ANALYST = "analyst"  # findings and points, of groups
    APPROVER = "approver"  # decides on proposals
    OPERATOR = "operator"  # starts, cancels, repeats, puts dead letters back
    ADMIN = "admin"  # the audit log; users are made on the command line


class Kind(StrEnum):
    """Both are verified alike. A key is made on the command line and lasts for months, a token by a login for minutes."""

    KEY = "key"
    TOKEN = "token"  # noqa: S105  # a word


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. name: of the user, an accountable person or a machine of theirs. credential: the id of the key or token,
    with its kind and its end; no end where nobody keeps one, as of a click in Slack.
    """

    name: str
    roles: frozenset[Role]
    credential: str
    kind: Kind = Kind.KEY
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A credential at the only moment at which its secret is known. bearer: what goes behind `Authorization: Bearer`."""

    credential: str
    bearer: str = field(repr=False)
    expires_at: datetime
    principal: Principal


@dataclass(frozen=True, slots=True)
class User:
    """disabled_at: since when nothing of theirs is let in; None for who may come."""

    name: str
    roles: frozenset[Role]
    created_at: datetime
    disabled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """A key or token as it is kept, without what would prove it. roles: None for all that its owner has at the time.

    replaces: the id of the key that it took over from.
    """

    id: str
    kind: Kind
    owner: str
    roles: frozenset[Role] | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None
    label: str
    replaces: str | None

    def is_live(self, now: datetime) -> bool:
        return self.revoked_at is None and now < self.expires_at
