"""`python -m pipelines.users`: who may use the API, in which roles, and the keys of their programs.

There is no first user and no default password: whoever may run this command on the server makes the first. A password or a
key is shown once, on standard output alone. Every change is in the audit log before it is done.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from pipelines import command, log, settings, wiring
from pipelines.access import names, passwords
from pipelines.access.credentials import checked_id
from pipelines.access.principals import Credential, Issued, Kind, Role, User
from pipelines.access.store import LONGEST_KEY, PostgresAccess
from pipelines.errors import InvalidInput
from pipelines.interventions.audit_store import PostgresAuditLog
from pipelines.report.markup import seen


@dataclass(frozen=True)
class Desk:
    """What a verb works with."""

    access: PostgresAccess
    log: PostgresAuditLog
    now: datetime

    def note(self, action: str, subject: str, **detail: Any) -> None:
        """Written before the change: who did it is the account of this system, which a shell cannot make up."""
        who = {"via": "command line", **detail}
        self.log.note(Role.ADMIN, command.account(), action, self.now, subject=subject, **who)


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    config = settings.load()
    command.say(f"users: {wiring.which(config).split(', ')[-1]}")  # the only one that it uses
    with wiring.access(config) as (access, audit):
        options.do(Desk(access, audit, datetime.now(UTC)), options)
    return command.GOOD


# ------------------------------------------------------------------------------------------------ the command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.users", description="Users of the API, and their keys.")
    verbs = parser.add_subparsers(
        required=True, metavar="create | list | roles | password | disable | enable | key ..."
    )
    verb = _verb(verbs, "create", _create, "a new user with a random password, which is shown once")
    _about_user(verb, roles=True)
    _with_password(verb)
    _verb(verbs, "list", _list, "users and their roles")
    _about_roles(_verb(verbs, "roles", _roles, "give roles or take them away; --role in place of all present ones"))
    verb = _verb(verbs, "password", _password, "a new random password, shown once; whoever is logged in is logged out")
    _about_user(verb)
    _with_password(verb)
    _about_user(_verb(verbs, "disable", _disable, "let nothing of theirs in from now on; all their keys end"))
    _about_user(_verb(verbs, "enable", _enable, "let them log in again; keys have to be made anew"))
    _key_verbs(verbs)
    return parser


def _key_verbs(verbs: Any) -> None:
    words = "keys for programs"
    keys = verbs.add_parser("key", help=words, description=words).add_subparsers(
        required=True, metavar="create | list | rotate | revoke"
    )
    verb = _verb(keys, "create", _key_create, "a new key, shown once")
    _about_user(verb)
    _add_roles(verb, "--role", "only these of their roles; else all")
    verb.add_argument("--days", type=_days, default=90, help="how long it lasts (default 90)")
    verb.add_argument("--label", default="", help="what it is for")
    _verb(keys, "list", _key_list, "every key: whose, until when, last used when")
    verb = _verb(keys, "rotate", _key_rotate, "a new key beside this one, which goes on for a while")
    verb.add_argument("id")
    verb.add_argument("--hours", type=_hours, default=24, help="how long the old one goes on (default 24)")
    _verb(keys, "revoke", _key_revoke, "end a key at once").add_argument("id")


def _verb(verbs: Any, name: str, do: Callable[[Desk, argparse.Namespace], None], words: str) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=words, description=words)
    verb.add_argument("--json", action="store_true", help="one JSON object on standard output")
    verb.set_defaults(do=do)
    return verb


def _about_user(verb: argparse.ArgumentParser, *, roles: bool = False) -> None:
    verb.add_argument("name", help="such as anna.berg")
    if roles:
        _add_roles(verb, "--role", "may be given repeatedly", required=True)


def _about_roles(verb: argparse.ArgumentParser) -> None:
    _about_user(verb)
    _add_roles(verb, "--add", "besides those that they have; may be given repeatedly")
    _add_roles(verb, "--remove", "no longer; may be given repeatedly")
    _add_roles(verb, "--role", "these alone: what is not named is taken away; may be given repeatedly")


def _add_roles(verb: argparse.ArgumentParser, option: str, words: str, *, required: bool = False) -> None:
    """Their plain names, which is what argparse shows: it would show the members of an enumeration as Python does."""
    known = [role.value for role in Role]
    verb.add_argument(option, action="append", choices=known, required=required, help=words)


def _with_password(verb: argparse.ArgumentParser) -> None:
    words = f"read it from standard input, one line of at least {passwords.SHORTEST} characters"
    verb.add_argument("--password-stdin", action="store_true", help=words)


def _days(text: str) -> int:
    return _within(text, 1, LONGEST_KEY.days)


def _hours(text: str) -> int:
    return _within(text, 0, 24 * LONGEST_KEY.days)


def _within(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text[:9]) <= most):
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}")
    return int(text)


# ------------------------------------------------------------------------------------------------ users


def _create(desk: Desk, options: argparse.Namespace) -> None:
    name, roles = names.checked(options.name), _of(options.role)
    password = _new_password(name, options)
    desk.note("user create", name, roles=sorted(roles))
    user = desk.access.create(name, password, roles, desk.now)
    _tell_password(user, password, options, f"{user.name} may log in as {_words(user.roles)}")


def _list(desk: Desk, options: argparse.Namespace) -> None:
    users = desk.access.users()
    if options.json:
        _print_json({"users": [_plain(user) for user in users]})
    elif users:
        _print_table(("user", "roles", "since", "disabled"), [_user_row(user) for user in users])
    else:
        print("no users; `python -m pipelines.users create NAME --role viewer` makes one")


def _user_row(user: User) -> tuple[str, ...]:
    return user.name, _words(user.roles), _time(user.created_at), _time(user.disabled_at)


def _roles(desk: Desk, options: argparse.Namespace) -> None:
    before = desk.access.user(options.name)
    roles = _wanted(before.roles, options)
    desk.note("user roles", before.name, roles=sorted(roles))
    user = desk.access.set_roles(before.name, roles)
    if options.json:
        _print_json(_plain(user))
    else:
        print(f"{user.name}: {_words(before.roles)} -> {_words(user.roles)}")


def _wanted(had: frozenset[Role], options: argparse.Namespace) -> frozenset[Role]:
    """Raises InvalidInput: not one thing to do, or nothing would be left."""
    add, remove = _of(options.add or ()), _of(options.remove or ())
    if bool(options.role) == bool(add or remove):
        raise InvalidInput("give --add or --remove, or --role for what is to be in place of all present roles")
    if add & remove:
        raise InvalidInput(f"{_words(add & remove)} cannot be both added and removed")
    roles = _of(options.role) if options.role else (had | add) - remove
    if not roles:
        raise InvalidInput("no role would be left; `python -m pipelines.users disable NAME` lets nothing of theirs in")
    return roles


def _password(desk: Desk, options: argparse.Namespace) -> None:
    name = desk.access.user(options.name).name
    password = _new_password(name, options)
    desk.note("user password", name)
    user = desk.access.set_password(name, password, desk.now)
    _tell_password(user, password, options, f"{user.name} has a new password, and is logged out everywhere")


def _disable(desk: Desk, options: argparse.Namespace) -> None:
    name = desk.access.user(options.name).name
    desk.note("user disable", name)
    _tell(desk.access.disable(name, desk.now), options)


def _enable(desk: Desk, options: argparse.Namespace) -> None:
    name = desk.access.user(options.name).name
    desk.note("user enable", name)
    _tell(desk.access.enable(name), options)


def _new_password(name: str, options: argparse.Namespace) -> str:
    if not options.password_stdin:
        return passwords.random_password()
    try:
        password = sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise InvalidInput("the password on standard input is not in the encoding of this system") from None
    passwords.check_new(name, password)
    return password


def _tell_password(user: User, password: str, options: argparse.Namespace, words: str) -> None:
    """Somebody who gave the password knows it; else it is shown, and nowhere but here."""
    made = {} if options.password_stdin else {"password": password}
    if options.json:
        _print_json({**_plain(user), **made})
    elif options.password_stdin:
        print(words)
    else:
        command.say(f"{words}. The password is shown this once:")
        print(password)


def _tell(user: User, options: argparse.Namespace) -> None:
    if options.json:
        _print_json(_plain(user))
    else:
        print(f"{user.name}: {_words(user.roles)}{', disabled' if user.disabled_at else ''}")


# ------------------------------------------------------------------------------------------------ keys


def _key_create(desk: Desk, options: argparse.Namespace) -> None:
    owner, roles = desk.access.user(options.name).name, None if options.role is None else _of(options.role)
    label = log.redact(options.label)
    desk.note("key create", owner, roles=None if roles is None else sorted(roles), days=options.days, label=label)
    ends = desk.now + timedelta(days=options.days)
    _tell_key(desk.access.issue_key(owner, roles, ends, desk.now, label=label), options)


def _key_list(desk: Desk, options: argparse.Namespace) -> None:
    keys = desk.access.credentials(Kind.KEY)
    if options.json:
        _print_json({"keys": [{**_plain(key), "live": key.is_live(desk.now)} for key in keys]})
    elif keys:
        heads = ("key", "user", "roles", "ends", "last used", "label")
        _print_table(heads, [_key_row(key, desk.now) for key in keys])
    else:
        print("no keys; `python -m pipelines.users key create NAME` makes one")


def _key_row(key: Credential, now: datetime) -> tuple[str, ...]:
    ends = f"revoked {_time(key.revoked_at)}" if key.revoked_at else _time(key.expires_at)
    state = ends if key.is_live(now) or key.revoked_at else f"ended {ends}"
    roles = "all of theirs" if key.roles is None else _words(key.roles)
    return key.id, key.owner, roles, state, _time(key.last_used_at, "never"), key.label


def _key_rotate(desk: Desk, options: argparse.Namespace) -> None:
    old = desk.access.credential(checked_id(options.id))
    desk.note("key rotate", old.id, user=old.owner, hours=options.hours)
    _tell_key(desk.access.rotate(old.id, desk.now, grace=timedelta(hours=options.hours)), options)


def _key_revoke(desk: Desk, options: argparse.Namespace) -> None:
    old = desk.access.credential(checked_id(options.id))
    desk.note("key revoke", old.id, user=old.owner)
    desk.access.revoke(old.id, desk.now)
    if options.json:
        _print_json({"id": old.id, "live": False})
    else:
        print(f"{old.id} of {old.owner} has ended")


def _tell_key(issued: Issued, options: argparse.Namespace) -> None:
    who = issued.principal
    if options.json:
        said = {"id": issued.credential, "owner": who.name, "roles": sorted(who.roles), "expires_at": issued.expires_at}
        _print_json({**said, "bearer": issued.bearer})
    else:
        until = f"{issued.credential} of {who.name} until {_time(issued.expires_at)}, as {_words(who.roles)}"
        command.say(f"{until}. It is shown this once:")
        print(issued.bearer)


# ------------------------------------------------------------------------------------------------ words


def _of(given: Iterable[str]) -> frozenset[Role]:
    return frozenset(map(Role, given))


def _words(roles: Iterable[Role]) -> str:
    return ", ".join(sorted(roles)) or "nothing"


def _time(at: datetime | None, never: str = "") -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else never


def _plain(its: User | Credential) -> dict[str, Any]:
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in asdict(its).items()}


def _print_json(said: dict[str, Any]) -> None:
    print(json.dumps(said, default=datetime.isoformat))


def _print_table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """What comes first is never cut, however narrow the terminal: it is there to be copied."""
    whole = Column(heads[0], no_wrap=True, min_width=max(len(row[0]) for row in rows))
    table = Table(whole, *heads[1:])
    for row in rows:
        table.add_row(*(Text(seen(cell)) for cell in row))  # as it is: a label is no markup
    Console(highlight=False).print(table)


if __name__ == "__main__":
    raise SystemExit(command.run(main))
