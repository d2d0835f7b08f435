from __future__ import annotations

import io
import pickle
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import command
from pipelines.errors import (
    CommitUnknown,
    Defect,
    InvalidInput,
    PermanentError,
    Refused,
    TooManyInvalid,
    TransientError,
)


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TransientError("away"), 1),
        (CommitUnknown("away"), 1),
        (PermanentError("broken"), 1),
        (TooManyInvalid("many"), 1),
        (InvalidInput("wrong"), 2),
        (Refused("STREAM_FULL", "no"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(raising(error)) == code
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_good_end_is_the_command_s_own_code() -> None:
    assert command.run(lambda: 7) == 7


def test_wrong_settings_are_bad_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ORGANISM_BATCH_SIZE", "many")
    assert command.run(lambda: 0) == 2
    assert "ORGANISM_BATCH_SIZE" in capsys.readouterr().err


def test_a_mistyped_setting_is_named_with_what_it_may_mean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORGANISM_REDIS_UR", "redis://:secret@host")
    assert command.run(lambda: 0) == 0
    assert capsys.readouterr().err == "warning: ORGANISM_REDIS_UR is not a setting; ORGANISM_REDIS_URL is\n"


def test_what_was_done_before_an_error_is_said_too(capsys: pytest.CaptureFixture[str]) -> None:
    error = TransientError("away")
    error.add_note("before that: 3 read")
    assert command.run(raising(error)) == 1
    assert capsys.readouterr().err == "error: away\nbefore that: 3 read\n"


def test_a_defect_keeps_its_frames_and_not_its_text() -> None:
    held = "con" + "tent"
    with pytest.raises(Defect, match="ZeroDivisionError") as caught:
        command.run(raising(ZeroDivisionError(held)))
    assert "content" not in "".join(traceback.format_exception(caught.value))
    assert any(frame.name == "run" for frame in traceback.extract_tb(caught.value.__traceback__))


def test_a_message_is_one_line_without_ids(capsys: pytest.CaptureFixture[str]) -> None:
    command.run(raising(InvalidInput("two\nlines about anna@corp.example")))
    assert capsys.readouterr().err == "error: two; lines about [redacted]\n"


def test_a_reader_that_is_gone_ends_it_quietly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open(tmp_path / "out", "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert command.run(raising(BrokenPipeError())) == 141


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"), command.input_file(str(tmp_path / "none")):
        pass


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x")))
    with command.input_file("-") as file:
        assert file.read() == b"x"


def test_a_refusal_comes_back_whole_from_another_process() -> None:
    back = pickle.loads(pickle.dumps(Refused("BUSY", "not now")))
    assert (back.code, back.sentence, str(back)) == ("BUSY", "not now", "BUSY: not now")


class TestPython:
    """What a line that tells the next command begins with."""

    def test_it_is_plain_where_the_path_leads_to_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
        assert command.python() == "python"

    def test_it_is_below_here_or_whole_where_it_does_not(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        mine = tmp_path / "my project" / ".venv" / "bin" / "python"
        mine.parent.mkdir(parents=True)
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr(sys, "executable", str(mine))
        monkeypatch.chdir(tmp_path / "my project")
        assert command.python() == ".venv/bin/python"
        monkeypatch.chdir("/")
        assert command.python() in (f"'{mine}'", f"'{str(mine)[1:]}'")

    def test_another_one_on_the_path_is_not_taken_for_it(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        other = tmp_path / "python"
        other.symlink_to(sys.executable)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert command.python().endswith(str(Path(sys.executable).name))
        assert command.python() != "python"
