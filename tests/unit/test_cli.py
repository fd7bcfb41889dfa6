"""The command line: quick, clear, and never a traceback."""

import os
import subprocess
import sys
import time

import jwt
import pytest

from gateway import tokens
from gateway.cli import run
from gateway.keys import Secret
from gateway.version import version
from tests.support.serving import ROOT

SECRET = "a secret of at least thirty-two bytes"


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("REPRISE_SECRET", "REPRISE_SECRET_FILE", "REPRISE_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def done(capsys, *arguments):
    """Exit code, what was printed, and the error's lines."""
    code = run(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err.splitlines()


def test_version(capsys):
    assert done(capsys, "--version") == (0, f"reprise {version()}\n", [])


@pytest.mark.parametrize("command", ["serve", "token", "replay"])
def test_every_command_explains_itself(capsys, command):
    code, out, errors = done(capsys, command, "--help")
    assert (code, errors) == (0, [])
    assert out.startswith(f"Usage: reprise {command}")
    code, out, _ = done(capsys, "--help")
    assert code == 0
    assert command in out


def test_without_a_command_there_is_help(capsys):
    code, out, errors = done(capsys)
    assert code == 2
    assert "Commands:" in out + "\n".join(errors)


def test_ctrl_c_while_a_command_is_imported_ends_it_wherever_it_comes(tmp_path):
    # As it does where a lock of the import system is let go of: what is raised there is ignored.
    imports = """
import os, signal
class Lock:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100): pass
Lock()
print("went on")
"""
    (tmp_path / "interrupted.py").write_text(imports)
    program = (
        "import sys; from gateway import cli;"
        "cli._COMMANDS['serve'] = ('interrupted', 'x', ''); sys.exit(cli.run(['serve']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "reprise: stopped\n")


def test_an_unknown_command_is_one_line(capsys):
    code, out, errors = done(capsys, "dance")
    assert (code, out) == (2, "")
    assert errors == ["reprise: No such command 'dance'."]


def test_a_token_is_all_that_is_printed(capsys, monkeypatch):
    monkeypatch.setenv("REPRISE_SECRET", SECRET)
    arguments = ("--room", "lobby", "--name", "Ada", "--no-publish", "--expires", "90s")
    code, out, errors = done(capsys, "token", *arguments)
    assert (code, errors) == (0, [])
    token = out.removesuffix("\n")
    claims = tokens.check(Secret(SECRET), token, room="lobby")
    assert claims == tokens.Claims(room="lobby", name="Ada", publish=False)
    payload = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert payload["exp"] - payload["iat"] == 90
    assert abs(payload["iat"] - time.time()) < 60


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "no secret"),
        (("--secret", "short"), "shorter than 32 bytes"),
        (("--secret-file", "nowhere"), "nowhere: No such file"),
        (("--secret", SECRET, "--expires", "soon"), "no duration"),
        (("--secret", SECRET, "--room", "a b"), "letters, digits"),
        (("--secret", SECRET, "--name", "n" * 200), "name"),
    ],
)
def test_a_token_that_cannot_be_made_is_one_line(capsys, arguments, word):
    code, out, errors = done(capsys, "token", "--room", "lobby", *arguments)
    assert (code, out) == (2, "")
    assert len(errors) == 1
    assert word in errors[0]
    assert SECRET not in errors[0]


def test_the_secret_of_the_settings_file_signs_too(capsys, tmp_path):
    (tmp_path / "reprise.toml").write_text(f'secret = "{SECRET}"\nhttp-port = 3005\n')
    code, out, _ = done(capsys, "token", "--room", "lobby")
    assert code == 0
    assert isinstance(tokens.check(Secret(SECRET), out.strip(), room="lobby"), tokens.Claims)
