"""The settings as options of a click command, with the environment and a TOML file behind them."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from gateway.keys import Secret
from gateway.setting_values import Reader
from gateway.settings import SETTINGS, Setting, Settings, SettingsError, settings_of
from gateway.tokens import secret_of

CONFIG_DEFAULT = Path("reprise.toml")
_SECRET_FILE_BYTES_MAX = 64 * 1024


class _Value(click.ParamType[object]):
    """A click type around a reader of `gateway.setting_values`."""

    envvar_list_splitter = ","

    def __init__(self, reader: Reader, metavar: str) -> None:
        self.name = metavar
        self._reader = reader

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._reader(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command all settings as options; it is called with one `Settings`."""

    def run(**given: Any) -> Any:
        context = click.get_current_context()
        return command(_settings(context, given))

    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    wrapped: Callable[..., Any] = run
    for setting in reversed(SETTINGS):
        wrapped = _option(setting)(wrapped)
    return config_option(wrapped)


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command `--config`, which fills in what flags and environment do not say."""
    return click.option(
        "--config",
        envvar="REPRISE_CONFIG",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_use_config,
        help=f"TOML file with settings.  [env: REPRISE_CONFIG; default: ./{CONFIG_DEFAULT}"
        " if it is there]",
    )(command)


def _option(setting: Setting) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    help_text = f"{setting.about}  [env: {setting.variable}; default: {setting.shown}]"
    flag = f"--{setting.name}"
    if setting.is_flag:
        return click.option(
            f"{flag}/--no-{setting.name}",
            setting.field_name,
            envvar=setting.variable,
            default=setting.default,
            help=help_text,
        )
    return click.option(
        flag,
        setting.field_name,
        envvar=setting.variable,
        type=click.STRING if setting.many else _Value(setting.reader, setting.metavar),
        multiple=setting.many,
        metavar=setting.metavar,
        callback=partial(_read_many, setting) if setting.many else None,
        help=help_text,
    )


def _read_many(
    setting: Setting, context: click.Context, param: click.Parameter, parts: tuple[str, ...]
) -> Any:
    """Flatten repeated flags, each of which may hold several values with commas."""
    if not parts:
        return None
    try:
        return setting.reader(",".join(parts))
    except ValueError as error:
        raise click.BadParameter(str(error), context, param) from None


def _settings(context: click.Context, given: dict[str, Any]) -> Settings:
    explicit = {name: value for name, value in given.items() if value is not None}
    secret = secret_option(context, explicit.pop("secret", None), explicit.get("secret_file"))
    if secret is not None:
        explicit["secret"] = secret
    try:
        return settings_of(explicit)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def secret_option(context: click.Context, text: str | None, path: Path | None) -> Secret | None:
    """The secret of `--secret` or `--secret-file`, whichever was said with more weight.

    Raises `click.UsageError`, which never quotes it.
    """
    if text is not None and path is not None:
        by_text, by_file = (_weight(context, name) for name in ("secret", "secret_file"))
        if by_text == by_file:
            raise click.UsageError("secret and secret-file are both set: set one of them")
        text, path = (text, None) if by_text > by_file else (None, path)
    try:
        if text is not None:
            return secret_of(text)
        return None if path is None else secret_of(_read_file(path))
    except ValueError as error:
        raise click.UsageError(f"{'secret' if path is None else path}: {error}") from None


def _weight(context: click.Context, name: str) -> int:
    source = context.get_parameter_source(name)
    ranks = {ParameterSource.COMMANDLINE: 2, ParameterSource.ENVIRONMENT: 1}
    return ranks.get(source, 0) if source is not None else 0


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_SECRET_FILE_BYTES_MAX).decode()
    except OSError as error:
        raise ValueError(error.strerror) from None
    except UnicodeDecodeError:
        raise ValueError("not a text") from None


def _use_config(context: click.Context, _param: click.Parameter, path: Path | None) -> None:
    if path is None and not CONFIG_DEFAULT.exists():
        return
    context.default_map = {**(context.default_map or {}), **read_config(path or CONFIG_DEFAULT)}


def read_config(path: Path) -> dict[str, Any]:
    """The values of a TOML file by field name, each checked. Raises `click.UsageError`."""
    try:
        tree = tomllib.loads(path.read_text())
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path}: {error}") from None
    known = {setting.name: setting for setting in SETTINGS}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        setting = known.get(key)
        if setting is None:
            raise click.UsageError(f"{path}: unknown setting {key!r}{_nearest(key, known)}")
        try:
            setting.reader(value)
        except ValueError as error:
            raise click.UsageError(f"{path}: {key}: {error}") from None
        found[setting.field_name] = (
            [str(part) for part in value] if isinstance(value, list) else _plain(setting, value)
        )
    return found


def _plain(setting: Setting, value: object) -> object:
    """A TOML value in the form that click takes as a default."""
    if setting.is_flag:
        return value
    return [str(value)] if setting.many else str(value)


def _nearest(key: str, known: dict[str, Setting]) -> str:
    near = difflib.get_close_matches(key.replace("_", "-"), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
