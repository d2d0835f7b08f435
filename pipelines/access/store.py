"""Users, keys and tokens in PostgreSQL: who is let in, and as whom. What a role may do is the table of the API.

A disabled user, a withdrawn role and a revoked key hold for the next request, because every request asks here.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipelines import queries
from pipelines.access import credentials, names
from pipelines.access.passwords import Passwords, check_new
from pipelines.access.principals import Credential, Issued, Kind, Principal, Role, User
from pipelines.errors import InvalidInput, OrganismError, Refused
from pipelines.postgres import Connection, Pool, runner, transaction

_run = runner(queries.load("pipelines.access", "queries.sql"))
TOKEN_LIFE, GRACE, LONGEST_KEY = timedelta(minutes=30), timedelta(hours=24), timedelta(days=366)
#: How long a noted use stands for those that follow: a write for every read would cost more than the read.
_FRESH = timedelta(minutes=1)
_WRONG = "user name or password is wrong, or this user is not let in"


@dataclass(frozen=True, slots=True)
class _New:
    """A credential that is to be made; names as in `Credential`."""

    kind: Kind
    owner: str
    roles: Collection[Role] | None
    expires_at: datetime
    label: str
    replaces: str | None = None


class PostgresAccess:
    """Safe from many threads and processes at once. token_life: of what a login makes."""

    def __init__(self, pool: Pool, token_life: timedelta = TOKEN_LIFE, passwords: Passwords | None = None) -> None:
        self._pool, self._token_life, self._passwords = pool, token_life, passwords or Passwords()

    # -------------------------------------------------------------------------------------------- who asks

    def who(self, bearer: str, now: datetime) -> Principal | None:
        """Who shows this key or token; None if it is none, is wrong, has ended, or its owner is disabled.

        Unknown, malformed and wrong ones cost the same time. A use is noted about once a minute, if it can be.
        """
        shown = credentials.presented(bearer)
        with transaction(self._pool) as connection:
            asked = {"id": shown.id, "decoy": credentials.DECOY, "now": now, "fresh": _FRESH}
            ((kept, live, stale, name, kind, ends, *roles),) = _run(connection, "presented", **asked)
        if not (credentials.matches(shown, kept) and live):
            return None
        if stale:
            self._note_use(shown.id, now)
        return Principal(name, _roles(roles[0]) & _roles(roles[1]), shown.id, Kind(kind), ends)

    def _note_use(self, id_: str, now: datetime) -> None:
        """For people who look for keys that nobody uses; a database that takes no writes still lets its readers in."""
        with suppress(OrganismError), transaction(self._pool) as connection:
            _run(connection, "note_use", id=id_, now=now, fresh=_FRESH)

    def login(self, name: str, password: str, now: datetime, *, address: str = "") -> Issued:
        """A token for a user name and a password. address: where it came from, kept with the token.

        Raises:
            Refused: WRONG_LOGIN, the same words and work whether there is such a user or not.
            TransientError: PostgreSQL is away, or too many log in at once.
        """
        known = names.folded(name)
        with transaction(self._pool) as connection:
            ((kept, let_in),) = _run(connection, "password_of", user=known) or [(None, False)]
        if not (self._passwords.fits(password, kept) and let_in):
            raise Refused("WRONG_LOGIN", _WRONG)
        anew = self._passwords.hashed(password) if self._passwords.is_outdated(kept) else None
        with transaction(self._pool) as connection:
            if not (rows := _run(connection, "hold_user", user=known, checked=kept)):
                raise Refused("WRONG_LOGIN", _WRONG)
            if anew:
                _run(connection, "rehash", user=known, hash=anew)
            _run(connection, "tidy", now=now)
            new = _New(Kind.TOKEN, known, None, now + self._token_life, address)
            return _issue(connection, new, rows[0][0], now)

    # -------------------------------------------------------------------------------------------- users

    def create(self, name: str, password: str, roles: Collection[Role], now: datetime) -> User:
        """
        Raises:
            InvalidInput: the name, the password or the roles are not as they should be.
            Refused: USER_EXISTS.
        """
        new, wanted = names.checked(name), _some(roles)
        check_new(new, password)
        hashed = self._passwords.hashed(password)
        with transaction(self._pool) as connection:
            rows = _run(connection, "create_user", user=new, hash=hashed, roles=wanted, now=now)
        if not rows:
            raise Refused("USER_EXISTS", f"there is a user {new} already; names are never used again")
        return _user(rows[0])

    def user(self, name: str) -> User:
        """Raises InvalidInput: there is no such user."""
        with transaction(self._pool) as connection:
            return _user_of(connection, name)

    def users(self) -> list[User]:
        """By name."""
        with transaction(self._pool) as connection:
            return [_user(row) for row in _run(connection, "users")]

    def set_roles(self, name: str, roles: Collection[Role]) -> User:
        """Instead of those that they had, at once and for all that they hold.

        Raises:
            InvalidInput: there is no such user, or no role.
        """
        return self._changed("set_roles", name, roles=_some(roles))

    def set_password(self, name: str, password: str, now: datetime) -> User:
        """Their tokens end; their keys do not, which are not made of it.

        Raises:
            InvalidInput: there is no such user, or the password is not as it should be.
        """
        check_new(names.folded(name), password)
        return self._changed("set_password", name, [Kind.TOKEN], now=now, hash=self._passwords.hashed(password))

    def disable(self, name: str, now: datetime) -> User:
        """Nothing of theirs is let in from now on, and what they hold stays dead when they are enabled again.

        Raises:
            InvalidInput: there is no such user.
        """
        return self._changed("disable", name, list(Kind), now=now)

    def enable(self, name: str) -> User:
        """They may log in again. Raises InvalidInput: there is no such user."""
        return self._changed("enable", name)

    def _changed(self, how: str, name: str, ends: Collection[Kind] = (), **to: Any) -> User:
        """ends: the kinds of credentials that the change ends."""
        owner = names.folded(name)
        with transaction(self._pool) as connection:
            if not (rows := _run(connection, how, user=owner, **to)):
                raise _no_user(owner)
            if ends:
                _run(connection, "revoke_of", owner=owner, kinds=list(ends), now=to["now"])
        return _user(rows[0])

    # -------------------------------------------------------------------------------------------- keys and tokens

    def issue_key(
        self, user: str, roles: Collection[Role] | None, expires_at: datetime, now: datetime, *, label: str = ""
    ) -> Issued:
        """A new key. roles: some of its owner's; None for all that they have whenever it is used.

        Raises:
            InvalidInput: no such user, a role that they do not have, or an end that is past or more than 366 days away.
            Refused: DISABLED.
        """
        if not now < expires_at <= now + LONGEST_KEY:
            raise InvalidInput(f"a key ends later than now and within {LONGEST_KEY.days} days")
        with transaction(self._pool) as connection:
            owner = _owner(connection, user)
            if foreign := set(roles or ()) - owner.roles:
                raise InvalidInput(
                    f"{owner.name} does not have {', '.join(sorted(foreign))}, so a key of theirs cannot"
                )
            return _issue(connection, _New(Kind.KEY, owner.name, roles, expires_at, label), owner.roles, now)

    def rotate(self, credential_id: str, now: datetime, *, grace: timedelta = GRACE) -> Issued:
        """A new key beside the old one, which ends after the grace period. As long a life, the same roles and label.

        Of one chain two are live at most: what the old one had replaced ends now.

        Raises:
            InvalidInput: there is no such key.
            Refused: ENDED; ROTATED, if it has a successor already; DISABLED.
        """
        with transaction(self._pool) as connection:
            owner = _owner(connection, _credential_of(connection, credential_id).owner)
            old = _credential_of(
                connection, credential_id
            )  # as it is now that its owner is held, and with them the others
            _insist_rotatable(connection, old, now)
            _run(connection, "end_by", id=old.id, at=now + grace)
            _run(connection, "revoke", id=old.replaces, now=now)
            new = _New(Kind.KEY, old.owner, old.roles, now + (old.expires_at - old.created_at), old.label, old.id)
            return _issue(connection, new, owner.roles, now)

    def revoke(self, credential_id: str, now: datetime) -> None:
        """It ends at once. Twice is once.

        Raises:
            InvalidInput: there is no such key or token.
        """
        with transaction(self._pool) as connection:
            if not _run(connection, "revoke", id=credential_id, now=now):
                raise _no_credential(credential_id)

    def credential(self, credential_id: str) -> Credential:
        """Raises InvalidInput: there is no such key or token."""
        with transaction(self._pool) as connection:
            return _credential_of(connection, credential_id)

    def credentials(self, kind: Kind | None = None) -> list[Credential]:
        """All that are kept, those that have ended among them; by owner, the oldest first."""
        with transaction(self._pool) as connection:
            return [_credential(row) for row in _run(connection, "credentials", kind=kind)]

    def tidy(self, now: datetime) -> int:
        """Delete tokens that have expired, 1,000 at most; every login does so too. Keys stay on record."""
        with transaction(self._pool) as connection:
            return len(_run(connection, "tidy", now=now))


def _issue(connection: Connection, new: _New, owned: Collection[str], now: datetime) -> Issued:
    made = credentials.make(new.kind)
    its = {"kind": new.kind, "owner": new.owner, "expires_at": new.expires_at, "replaces": new.replaces}
    its |= {"label": _line(new.label), "roles": None if new.roles is None else _some(new.roles)}
    _run(connection, "issue", id=made.id, digest=made.digest, now=now, **its)
    has = _roles(owned) if new.roles is None else _roles(new.roles) & _roles(owned)
    who = Principal(new.owner, has, made.id, new.kind, new.expires_at)
    return Issued(made.id, made.bearer, new.expires_at, who)


def _insist_rotatable(connection: Connection, old: Credential, now: datetime) -> None:
    if old.kind is not Kind.KEY:
        raise InvalidInput(f"{old.id} is a token: it ends by itself, and a login makes another")
    if not old.is_live(now):
        raise Refused("ENDED", f"{old.id} has ended; make a new key")
    if rows := _run(connection, "successor", id=old.id):
        raise Refused("ROTATED", f"{old.id} has been replaced by {rows[0][0]}; rotate that one")


def _owner(connection: Connection, name: str) -> User:
    """Held until the end of the transaction, so that nobody is disabled while a key is made for them."""
    _run(connection, "hold_owner", user=names.folded(name))
    user = _user_of(connection, name)
    if user.disabled_at:
        raise Refused("DISABLED", f"{user.name} is disabled")
    return user


def _user_of(connection: Connection, name: str) -> User:
    known = names.folded(name)
    if not (rows := _run(connection, "user", user=known)):
        raise _no_user(known)
    return _user(rows[0])


def _credential_of(connection: Connection, id_: str) -> Credential:
    if not (rows := _run(connection, "credential", id=id_)):
        raise _no_credential(id_)
    return _credential(rows[0])


def _line(words: str) -> str:
    """What somebody gave, as one short line of what can be shown."""
    return "".join(c for c in words if c.isprintable())[:200]


def _no_user(name: str) -> InvalidInput:
    return InvalidInput(f"there is no user {name}; `python -m pipelines.users list` shows which there are")


def _no_credential(id_: str) -> InvalidInput:
    return InvalidInput(f"there is no key {id_[:40]}; `python -m pipelines.users key list` shows which there are")


def _some(roles: Collection[Role]) -> list[str]:
    if not roles:
        raise InvalidInput(f"at least one role is needed, of {', '.join(Role)}")
    return sorted({role.value for role in roles})


def _roles(kept: Collection[str]) -> frozenset[Role]:
    return frozenset(role for role in Role if role in kept)


def _user(row: tuple[Any, ...]) -> User:
    name, roles, *times = row
    return User(name, _roles(roles), *times)


def _credential(row: tuple[Any, ...]) -> Credential:
    id_, kind, owner, roles, *rest = row
    return Credential(id_, Kind(kind), owner, None if roles is None else _roles(roles), *rest)
