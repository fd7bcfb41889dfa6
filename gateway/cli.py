"""The command `reprise`. Every command explains itself with --help and fails with one clear line.

Commands are imported when they are called: starting must be quick.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from gateway.errors import StartupError
from gateway.version import version

EXIT_STOPPED = 130
_COMMANDS = {
    "serve": ("gateway.serve_command", "serve", "Run the server."),
    "token": ("gateway.token_command", "token", "Make a join token."),
    "load": ("load.command", "load", "Test a server with many clients."),
    "replay": ("gateway.replay_command", "replay", "Look into the event log."),
}


class _Lazy(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        found = _COMMANDS.get(cmd_name)
        if found is None:
            return None
        module, name, _about = found
        with _stoppable():
            command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, _, about) in _COMMANDS.items()])


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Let Ctrl-C end the process while a command is imported.

    A KeyboardInterrupt there is swallowed if it comes while a module's lock is let go of.
    """
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if before is not signal.default_int_handler or not is_main:
        yield
        return
    signal.signal(signal.SIGINT, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    os.write(2, b"reprise: stopped\n")
    os._exit(EXIT_STOPPED)


def _print_version(context: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"reprise {version()}")
        context.exit()


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def reprise() -> None:
    """Reprise: a media router for WebRTC whose every session can be replayed."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, and exit with its code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0, 1 for a failure, 2 for wrong usage."""
    try:
        result: Any = reprise.main(
            args=None if arguments is None else list(arguments),
            prog_name="reprise",
            standalone_mode=False,
        )
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        return _fail(_message_of(error), error.exit_code)
    except click.Abort:
        return _fail("stopped", EXIT_STOPPED)
    except StartupError as error:
        return _fail(str(error), 1)
    except BrokenPipeError:
        sys.stdout = None
        return 1
    return result if isinstance(result, int) else 0


def _message_of(error: click.ClickException) -> str:
    """The error's line, with the place where a bad value stands if it is not a flag."""
    message = error.format_message()
    if isinstance(error, click.BadParameter) and error.param is not None and error.ctx is not None:
        source = error.ctx.get_parameter_source(error.param.name or "")
        if source is ParameterSource.ENVIRONMENT:
            message += f" (from the environment: {error.param.envvar})"
    return message


def _fail(message: str, code: int) -> int:
    click.echo(f"reprise: {' '.join(message.split())}", err=True)
    return code


if __name__ == "__main__":
    main()
