"""The services of docker-compose.prefect.yml as processes: the same commands, environment and secrets, other addresses.

There is no Docker engine where the tests run. What stays unproven is what an engine adds: the images, volumes, networks,
limits, users and the read-only file system.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "docker-compose.prefect.yml"
SCALE = ROOT / "deployments/compose/scale.yml"
_DEFAULT = re.compile(r"\$\{(\w+):-([^}]*)\}")


class _Loader(yaml.SafeLoader):
    """Knows the tags with which one compose file takes back what another says."""


for _tag in ("!reset", "!override"):
    _Loader.add_constructor(_tag, lambda loader, node: _plain(loader, node))


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_scalar(node)  # type: ignore[arg-type]


def read(path: Path = FILE) -> dict[str, Any]:
    """The file with its defaults filled in."""
    text = _DEFAULT.sub(lambda found: found[2], path.read_text("utf-8"))
    loaded: dict[str, Any] = yaml.load(text, Loader=_Loader)
    return loaded


def image_environment() -> dict[str, str]:
    """What ENV says in the last stage of the Dockerfile."""
    last = (ROOT / "deployments/Dockerfile").read_text("utf-8").rpartition("\nFROM ")[2]
    block = re.search(r"^ENV (.*)$", last.replace("\\\n", " "), re.MULTILINE)
    assert block is not None
    return dict(pair.split("=", 1) for pair in block[1].split())


class Bench:
    """Runs services. `addresses`: what stands in the files and what it is here, replaced in this order."""

    def __init__(self, folder: Path, secrets: Path, ports: Mapping[str, int], addresses: Mapping[str, str]) -> None:
        self.folder, self.secrets, self.ports, self.addresses = folder, secrets, ports, addresses
        self.services: dict[str, Any] = read()["services"]

    def command(self, name: str, *more: str) -> list[str]:
        return [self._here(word) for word in (*self.services[name]["command"], *more)]

    def check(self, name: str) -> list[str]:
        kind, *words = self.services[name]["healthcheck"]["test"]
        words = [self._here(word) for word in words]
        return words if kind == "CMD" else ["sh", "-c", *words]

    def environment(self, name: str, **changes: str) -> dict[str, str]:
        """Nothing of this machine but the way to its programs; of ours `python` is first."""
        path = f"{Path(python()).parent}{os.pathsep}{os.environ['PATH']}"
        given = {**image_environment(), **self.services[name].get("environment", {})}
        ours = {key: self._here(str(value or "")) for key, value in given.items() if key != "PATH"}
        return {**ours, "PATH": path, "ORGANISM_SECRETS_DIR": str(self._mounted(name)), **_package(), **changes}

    def run(self, name: str, command: list[str] | None = None, **changes: str) -> subprocess.CompletedProcess[str]:
        """A command of ours to its end, through the entrypoint of the image."""
        return subprocess.run(
            [str(ROOT / "deployments/compose/entrypoint.sh"), *(command or self.command(name))],
            env=self.environment(name, **changes),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=240,
        )

    @contextmanager
    def started(self, name: str, *command: str, **changes: str) -> Iterator[subprocess.Popen[bytes]]:
        """A service that stays; it is killed in the end if it is still there. Its words go to NAME.log."""
        entry = [] if command else [str(ROOT / "deployments/compose/entrypoint.sh")]
        with open(self.folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                [*entry, *(command or self.command(name))],
                env=self.environment(name, **changes),
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def is_well(self, name: str, **changes: str) -> bool:
        done = subprocess.run(
            self.check(name), env=self.environment(name, **changes), cwd=self.folder, capture_output=True, timeout=60
        )
        return done.returncode == 0

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text("utf-8", "replace")

    def _mounted(self, name: str) -> Path:
        """The secrets of one service as it sees them: only its own, under the names it asks for."""
        folder = self.folder / "secrets" / name
        folder.mkdir(parents=True, exist_ok=True)
        for secret in self.services[name].get("secrets", []):
            source, target = (secret, secret) if isinstance(secret, str) else (secret["source"], secret["target"])
            (folder / target).write_text(self._here((self.secrets / source).read_text()))
        return folder

    def _here(self, text: str) -> str:
        for there, here in self.addresses.items():
            text = text.replace(there, here)
        return text


def python() -> str:
    """The interpreter of the services; COMPOSE_PYTHON names that of an environment made as the image's is."""
    return os.environ.get("COMPOSE_PYTHON", sys.executable)


def _package() -> dict[str, str]:
    return {} if "COMPOSE_PYTHON" in os.environ else {"PYTHONPATH": str(ROOT)}
