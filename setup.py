"""Builds the graph kernels: one plain shared library, by the system's C compiler; no Python headers are needed.

Everything else stands in pyproject.toml. Without a compiler the install succeeds all the same, says so in one line, and the
metrics run on numba.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FOLDER = Path("pipelines/metrics/kernels")
NAME = "pipelines.metrics.kernels.organism_kernels"
# No contraction into fused operations: then all instruction sets give the same bits.
FLAGS = [
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
    "-w",
    "-Wno-psabi",
]


def compiler() -> list[str] | None:
    """The C compiler: CC, else Python's own, else the first that is found."""
    for words in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"):
        command = shlex.split(words or "")
        if command and shutil.which(command[0]):
            return command[:1]
    return None


class BuildKernels(build_ext):
    """Compiles the C files into a library that ctypes loads; a failure costs speed, not the install."""

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        command = compiler()
        if command is None:
            return self.without("there is no C compiler here")
        line = [*command, *FLAGS, *ext.sources, "-o", str(target), "-lm"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            target.unlink(missing_ok=True)
            return self.without(f"{command[0]} failed: {(done.stderr.strip().splitlines() or ['no message'])[0]}")
        print(f"graph kernels: built by {command[0]}")  # noqa: T201
        return None

    def without(self, reason: str) -> None:
        words = f"graph kernels: not built, {reason}; metrics will run on numba, about ten times slower"
        print(words, file=sys.stderr)  # noqa: T201


class AnyPython(bdist_wheel):
    """A wheel for one platform and every Python: the library knows nothing of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[
        Extension(
            NAME,
            sources=sorted(str(path) for path in FOLDER.glob("*.c")),
            depends=sorted(str(path) for path in FOLDER.glob("*.h")),
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": AnyPython},
)
