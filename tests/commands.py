"""Commands as a user runs them, in the process of the tests."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from fieldflux.app.cli import main


@dataclass(frozen=True)
class Done:
    """What a command said, and its exit code."""

    code: int
    stdout: str
    stderr: str


def fieldflux(*arguments: str | Path, home: Path, code: int = 0) -> Done:
    """Run the command line, in this process for speed, with `home` as its work folder."""
    out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
    found = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(os, "environ", environment(home))
        patch.setattr(sys, "argv", ["fieldflux", *map(str, arguments)])
        patch.chdir(home)
        try:
            main()
        except SystemExit as end:
            found = int(end.code or 0)
    done = Done(found, *(stream.buffer.getvalue().decode() for stream in (out, err)))  # type: ignore[attr-defined]
    assert done.code == code, done.stderr
    return done


def environment(home: Path) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FIELDFLUX_")}
    return {**clean, "FIELDFLUX_HOME": str(home), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def refusal(done: Done) -> str:
    """The sentence of a command that refuses; standard output stays empty."""
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("fieldflux: ")
