"""The state directory: what lies where in it, who may use it, and where it is by default."""

import hashlib
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from pipelines.embedded.errors import explained, problem
from pipelines.embedded.server import Server

_LOG_TAIL_LINES = 12
_LARGEST_LOG_BYTES = 5_000_000


@dataclass(frozen=True)
class Account:
    """The user that PostgreSQL runs as when we are root: it refuses to run as root."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Place:
    """The layout of one state directory."""

    root: Path

    @property
    def record(self) -> Path:
        return self.root / "servers.json"

    @property
    def password(self) -> Path:
        return self.root / "password"

    def data(self, server: Server) -> Path:
        return self.root / server.value

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def lock(self, name: str) -> Path:
        return self.root / "locks" / name

    def turn_logs(self) -> None:
        """Puts logs that have grown aside, keeping one old one of each."""
        for log in self.log("x").parent.glob("*.log"):
            if log.stat().st_size > _LARGEST_LOG_BYTES:
                log.replace(log.with_suffix(".log.1"))

    def log_tail(self, name: str) -> str:
        try:
            lines = self.log(name).read_text("utf-8", "replace").splitlines()
        except OSError:
            return "  (no log)"
        return "\n".join(f"  | {line}" for line in lines[-_LOG_TAIL_LINES:])


def account() -> Account | None:
    """Whom PostgreSQL must run as; None when it can run as ourselves."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def is_reachable(path: Path, visitor: Account) -> bool:
    """Can that user walk down to `path`? Only the mode bits are asked; access lists are not."""
    return all(_lets_through(step, visitor) for step in (path, *path.parents) if step.exists())


def _lets_through(step: Path, visitor: Account) -> bool:
    status = step.stat()
    if status.st_uid == visitor.uid:
        return bool(status.st_mode & 0o100)
    return bool(status.st_mode & (0o010 if status.st_gid == visitor.gid else 0o001))


def default_state_dir() -> Path:
    """ORGANISM_STATE_DIR, else .organism in the current directory, else (root, in a place that only root can enter,
    such as /root) a directory of /var/tmp whose name is made from that path."""
    chosen = os.environ.get("ORGANISM_STATE_DIR")
    if chosen:
        return Path(chosen).absolute()
    usual = Path.cwd() / ".organism"
    visitor = account()
    if visitor is None or is_reachable(usual, visitor):
        return usual
    name = f"causal-organism-{hashlib.sha256(os.fsencode(usual)).hexdigest()[:8]}"
    return Path("/var/tmp") / name  # noqa: S108 (anybody may make it first; `claim` refuses another's)


def claim(state_dir: Path, wanted: frozenset[Server]) -> Place:
    """Makes the directory ready for use, or says why it cannot be used. Never touches the directories above it."""
    root = state_dir.absolute()
    with explained(root):
        _make(root)
        _refuse_another_owner(root)
        _refuse_an_unreachable_place(root, wanted)
        place = Place(root)
        _refuse_a_lost_password(place)
        for folder in (place.lock("x").parent, place.log("x").parent):
            folder.mkdir(mode=0o700, exist_ok=True)
    return place


def _make(root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    root.mkdir(mode=0o700, exist_ok=True)
    if account() and root.lstat().st_uid == 0 and not any(root.iterdir()):
        root.chmod(0o711)  # nobody must get through to its data; what lies beside that stays closed to it


def _refuse_another_owner(root: Path) -> None:
    owner = root.lstat().st_uid
    if owner == os.geteuid():
        return
    seen = f"the state directory {root} belongs to user id {owner}"
    to_do = "run as that user, or set ORGANISM_STATE_DIR to a directory of your own"
    raise problem(seen, f"a directory of user id {os.geteuid()}", to_do)


def _refuse_a_lost_password(place: Place) -> None:
    """It is made before any data is; a new one would be refused by the servers."""
    if place.password.exists() or not any(place.data(server).exists() for server in Server):
        return
    seen = f"{place.root} holds data, but the file {place.password.name} is gone"
    to_do = f"put it back, or, if the data may go, delete {place.root} and start again"
    raise problem(seen, "the password that the data was made with", to_do)


def _refuse_an_unreachable_place(root: Path, wanted: frozenset[Server]) -> None:
    visitor = account()
    if visitor is None or Server.POSTGRES not in wanted or is_reachable(root, visitor):
        return
    closed = next(step for step in (root, *root.parents) if not _lets_through(step, visitor))
    raise problem(
        f"{closed} cannot be entered by the user nobody",
        "a path that it can enter: PostgreSQL refuses to run as root, so it runs as nobody",
        f"run as an ordinary user, or choose a state directory under /var/tmp, or run: chmod o+x {closed}",
    )
