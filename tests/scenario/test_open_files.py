"""A server that may open too few files says so in one line, and how to change that."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.support.serving import ROOT, Server


def test_too_few_open_files_are_told_with_the_way_out(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", tmp_path, options=["--sockets-max=5000"])
    limited = ["sh", "-c", 'ulimit -n 500 && exec "$@"', "sh", *server.command()]
    process = subprocess.Popen(
        limited, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        lines = (json.loads(line) for line in process.stderr)
        line = next(line for line in lines if line["event"] == "open_files_limited")
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert (line["limit"], line["wanted"]) == (500, 5256)
    assert "ulimit -Hn 5256" in line["advice"]
    assert "sockets-max to at most 244" in line["advice"]
