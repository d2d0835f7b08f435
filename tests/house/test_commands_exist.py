"""Every `python -m …` that a person may read and type exists: module, verb and options, by the real parser of the command.

In alerts, messages, docstrings, pages, units and container files. A command of an alert is tried by somebody who was woken.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import io
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import compose

ROOT = Path(__file__).parents[2]
PACKAGES = ("alerts", "deployments", "pipelines")
#: Started by programs of ours with what only these know.
FOR_MACHINES = ("pipelines.embedded.supervisor",)
COMMAND = re.compile(
    r"python[\w%\"]* -m ((?:alerts|deployments|pipelines|benchmarks|tests)[\w.]*)((?:[ \t]|\\\n)[^\n]*)?"
)
#: What stands for something that only the reader knows, and is therefore not compared with what is allowed.
PLACEHOLDER = re.compile(r"[A-Z_]+|.*…|\$.*|\{.*")
#: Ends a command in a shell, and a sentence.
_ALL_OF_THEM = ("$@", "%*")
_SHELL, _PROSE = re.compile(r"\s(#|&&|\|\|?|;|>>?|2>)(\s|$)|;|`"), re.compile(r"[;,:()`<>\"]|\.(\s|$)|\s(#|&&)\s")


class Understood(BaseException):
    """The parser took all of it; nothing is done."""


@pytest.fixture
def dry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands end where they have read their arguments."""
    parse = argparse.ArgumentParser.parse_args
    check = argparse.ArgumentParser._check_value

    def parsed(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        parse(self, *args, **kwargs)
        raise Understood

    def checked(self: argparse.ArgumentParser, action: argparse.Action, value: Any) -> None:
        if not PLACEHOLDER.fullmatch(str(value)):
            check(self, action, value)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    monkeypatch.setattr(argparse.ArgumentParser, "_check_value", checked)
    monkeypatch.setattr(argparse.ArgumentParser, "_get_value", lambda _self, _action, text: text)
    monkeypatch.setattr(sys, "argv", ["command"])


def wrong(module: str, words: list[str]) -> str | None:
    """What the command says against these words; None when it takes them."""
    if module == "alerts" and words[:1] == ["watch"]:  # which runs this as a program of its own
        return wrong("pipelines.watch", words[1:])
    path = _file(module)
    if path is None:
        return "there is no such module, or it is no command"
    if (
        module in FOR_MACHINES
        or "ArgumentParser" not in path.read_text("utf-8")
        or module.partition(".")[0] not in PACKAGES
    ):
        return None
    module = f"{module}.__main__" if path.name == "__main__.py" else module
    found = importlib.import_module(module).main
    told = io.StringIO()
    try:
        with redirect_stderr(told):
            found(words)
    except Understood:
        return None
    except SystemExit:
        said = told.getvalue().strip().splitlines()[-1]
        return said if words or "are required" not in said else None  # the name of a command, without what it is to do
    return "it does not look at its arguments"


def _file(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    runs = path.is_file() and (path.name == "__main__.py" or 'if __name__ == "__main__"' in path.read_text("utf-8"))
    return path if runs else None


# ------------------------------------------------------------------------------------------------ where they stand


def in_code(line: str) -> Iterator[tuple[str, list[str]]]:
    """Of a shell line or a code span: all words up to the end of the command."""
    for module, rest in COMMAND.findall(line.replace("\\\n", " ")):
        rest = re.sub(r"\$\([^)]*\)|[\[\]]", "", _SHELL.split(rest, maxsplit=1)[0])
        words = shlex.split(rest)
        yield module.rstrip("."), [word for word in words if word not in _ALL_OF_THEM]


def in_prose(text: str) -> Iterator[tuple[str, list[str]]]:
    """In a sentence, whose words may go on behind it."""
    for found in COMMAND.finditer(" ".join(text.split())):
        module, rest = found[1], found[2] or ""
        yield module.rstrip("."), [] if module.endswith(".") else _PROSE.split(rest, maxsplit=1)[0].split()


def without_the_sentence(module: str, words: list[str]) -> str | None:
    """As `wrong`, when plain words at the end may be the sentence's own, and a file or folder need not be said.

    An option or a verb that is none is found still, and an option that may not be missing.
    """
    first = error = wrong(module, words)
    while error and "unrecognized" in error and words and re.fullmatch(r"[a-z]+", words[-1]):
        words = words[:-1]
        error = wrong(module, words)
    named = error and "are required" in error and "--" not in error.partition("are required")[2]
    return first if error and not named else None


def of_page(text: str) -> Iterator[tuple[str, list[str]]]:
    """Fenced lines and code spans, which may be broken in two."""
    fenced = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
    for block in fenced.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield from in_code(line)
    for span in re.findall(r"`([^`]+)`", fenced.sub("", text)):
        yield from in_code(" ".join(span.split()))


def of_program(text: str) -> Iterator[tuple[str, list[str]]]:
    """Of every string, docstrings included; what is put into it is a placeholder."""
    tree = ast.parse(text)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            whole = "".join(str(v.value) if isinstance(v, ast.Constant) else "\0" for v in node.values)
            yield from in_prose(
                re.sub(r"(?<=[a-z])\0", "", whole).replace("\0", "VALUE")
            )  # glued on: an option or nothing
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield from in_prose(node.value)


def of_list(loaded: object) -> Iterator[tuple[str, list[str]]]:
    """Commands that a YAML file has as lists."""
    if isinstance(loaded, list) and "-m" in loaded[:3] and "python" in loaded[:2]:
        module, *words = map(str, loaded[loaded.index("-m") + 1 :])
        if module.partition(".")[0] in PACKAGES:
            yield module, words
    for one in loaded if isinstance(loaded, list) else loaded.values() if isinstance(loaded, dict) else ():
        yield from of_list(one)


PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "deployments").rglob("*.md")])
PROGRAMS = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SCRIPTS = sorted(
    path
    for path in (ROOT / "deployments").rglob("*")
    if path.suffix in {".service", ".cron", ".sh", ".yaml", ".bat"} and "secrets" not in path.parts
)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def faults(commands: Iterable[tuple[str, list[str]]], judge: Any = wrong) -> list[str]:
    found = ((module, words, judge(module, words)) for module, words in commands)
    return [f"python -m {' '.join([module, *words])}: {error}" for module, words, error in found if error]


# ------------------------------------------------------------------------------------------------ the tests


@pytest.mark.usefixtures("dry")
@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_commands_of_pages_exist(path: Path) -> None:
    assert faults(of_page(path.read_text("utf-8"))) == []


@pytest.mark.usefixtures("dry")
@pytest.mark.parametrize("package", PACKAGES)
def test_commands_that_programs_tell_exist(package: str) -> None:
    """The `fix` of every alert, what brings a flow back, and what messages and docstrings name."""
    told = [
        f"{_name(path)}: {fault}"
        for path in PROGRAMS
        if path.is_relative_to(ROOT / package)
        for fault in faults(of_program(path.read_text("utf-8")), without_the_sentence)
    ]
    assert told == []


@pytest.mark.usefixtures("dry")
def test_commands_that_bring_a_flow_back_exist() -> None:
    from pipelines.jobs import flows

    for flow in flows.BY_NAME.values():
        again = f"{flow.again} --resume full-2026-03-02T06" if flow.resumes else flow.again
        assert faults(in_code(again)) == [], flow.name


@pytest.mark.usefixtures("dry")
@pytest.mark.parametrize("path", SCRIPTS, ids=_name)
def test_commands_of_units_and_scripts_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    comments = "\n".join(line for line in text.splitlines() if line.lstrip().startswith(("#", "rem")))
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("#", "rem"))]
    if path.suffix == ".yaml":
        comments, lines = text, []
        assert faults(of_list(list(yaml.safe_load_all(text)))) == []
    assert faults(in_prose(comments), without_the_sentence) == []
    assert faults(command for line in lines for command in in_code(line)) == []


@pytest.mark.usefixtures("dry")
@pytest.mark.parametrize("path", [compose.FILE, compose.SCALE], ids=_name)
def test_commands_of_containers_exist(path: Path) -> None:
    assert faults(of_list(compose.read(path))) == []


@pytest.mark.usefixtures("dry")
@pytest.mark.parametrize(
    "made_up",
    [
        "python -m pipelines.rebuilt --yes",
        "python -m pipelines.rebuild --certainly",
        "python -m pipelines.dlq mend",
        "python -m pipelines.review audit prove",
        "python -m alerts silence",
        "python -m alerts watch --twice",
        "python -m pipelines.watch --twice",
        "python -m deployments repair",
        "python -m deployments.dead_man --each 300",
        "python -m pipelines.review resume",  # without its reason
        "python -m pipelines.keys",
    ],
)
def test_a_made_up_command_is_found_wherever_it_stands(made_up: str) -> None:
    """The control."""
    assert faults(of_page(f"Run\n```\n{made_up}    # and wait\n```\n")) != []
    assert faults(of_page(f"Run `{made_up}` now.")) != []
    assert faults(of_program(f'fix = "mend it, then {made_up}; wait"'), without_the_sentence) != []
    assert faults(of_list({"command": made_up.split()})) != []


def test_there_are_commands_to_look_at() -> None:
    pages = [command for path in PAGES for command in of_page(path.read_text("utf-8"))]
    programs = [command for path in PROGRAMS for command in of_program(path.read_text("utf-8"))]
    assert len(pages) > 80
    assert len(programs) > 60
    assert ("deployments.dead_man", ["--every", "300"]) in list(of_list(compose.read()))
