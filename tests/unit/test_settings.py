"""Settings: one name in every place, one order of precedence, one clear line when wrong."""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gateway import settings as settings_module
from gateway.cli import run
from gateway.keys import Secret
from gateway.options import with_settings
from gateway.serve_command import serve
from gateway.setting_values import PortRange
from gateway.settings import SETTINGS, Settings, SettingsError, settings_of, worker_count
from gateway.settings_page import BEGIN, END, settings_table

SECRET = "a secret of at least thirty-two bytes"
DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """An empty directory and environment."""
    monkeypatch.chdir(tmp_path)
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.delenv("REPRISE_CONFIG", raising=False)


def read(*arguments):
    """The settings that a command line gives."""
    found = []

    @click.command()
    @with_settings
    def command(settings):
        found.append(settings)

    command.main(list(arguments), standalone_mode=False)
    return found[0]


def refused(*arguments):
    with pytest.raises(click.ClickException) as error:
        read(*arguments)
    assert error.value.exit_code == 2
    return error.value.format_message()


def test_without_anything_there_are_the_defaults():
    assert read() == Settings()


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path, monkeypatch):
    config = tmp_path / "reprise.toml"
    config.write_text("http-port = 4001\nsignal-port = 4002\nrooms-max = 4003\n")
    monkeypatch.setenv("REPRISE_SIGNAL_PORT", "5002")
    monkeypatch.setenv("REPRISE_ROOMS_MAX", "5003")
    settings = read("--rooms-max", "6003")
    assert settings.network.http_port == 4001
    assert settings.network.signal_port == 5002
    assert settings.rooms.rooms_max == 6003
    assert settings.rooms.peers_per_room_max == 2000


def test_the_file_may_be_named_by_flag_or_environment(tmp_path, monkeypatch):
    named = tmp_path / "other.toml"
    named.write_text('host = "10.0.0.1"\nopen = true\nworkers = 3\ncodecs = ["VP8", "opus"]\n')
    (tmp_path / "reprise.toml").write_text("workers = 1\n")
    by_flag = read("--config", str(named))
    monkeypatch.setenv("REPRISE_CONFIG", str(named))
    for settings in (by_flag, read()):
        assert settings.network.host == "10.0.0.1"
        assert settings.access.open
        assert settings.media.workers == 3
        assert settings.media.codecs == ("VP8", "opus")


def test_lists_come_repeated_or_with_commas():
    flags = read("--announce", "192.0.2.1,192.0.2.2", "--announce", "2001:DB8::1")
    assert flags.network.announce == ("192.0.2.1", "192.0.2.2", "2001:db8::1")
    assert read("--codecs", "vp8, OPUS").media.codecs == ("VP8", "opus")


def test_lists_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("REPRISE_ALLOWED_ORIGINS", "https://a.example,https://b.example/")
    assert read().access.allowed_origins == ("https://a.example", "https://b.example")


def test_a_list_in_the_file_may_be_a_text(tmp_path):
    (tmp_path / "reprise.toml").write_text('announce = "192.0.2.1,192.0.2.2"\n')
    assert read().network.announce == ("192.0.2.1", "192.0.2.2")


EXAMPLES = {
    "host": ("0.0.0.0", "0.0.0.0"),
    "announce": ("192.0.2.1", ("192.0.2.1",)),
    "rtc_ports": ("20000-20009", PortRange(20000, 20009)),
    "signaling_url": ("wss://x.example/", "wss://x.example/"),
    "secret": (SECRET, Secret(SECRET)),
    "allowed_origins": ("*", ("*",)),
    "data": ("/srv/data", Path("/srv/data")),
    "archive_after": ("7d", 7 * 86_400 * 1_000_000_000),
    "prune_after": ("36h", 36 * 3_600 * 1_000_000_000),
    "prune_size": ("10GiB", 10 << 30),
    "codecs": ("opus,H264", ("opus", "H264")),
    "log_level": ("debug", "debug"),
    "log_format": ("json", "json"),
    "message_bytes_max": ("65536", 65536),
    "outbox_bytes_max": ("1000000", 1_000_000),
    "bytes_per_second_max": ("5000", 5000),
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_can_be_set_by_flag_environment_and_file(setting, tmp_path, monkeypatch):
    if setting.field_name in {"tls_cert", "tls_key", "secret_file"}:
        return  # they need company; see below
    text, value = EXAMPLES.get(setting.field_name, ("7", 7))
    if setting.is_flag:
        value = not setting.default
        text = str(value).lower()

    def found(settings):
        return getattr(getattr(settings, setting.section), setting.field_name)

    assert found(Settings()) != value
    flag = [f"--{setting.name}", text]
    if setting.is_flag:
        flag = [f"--{setting.name}" if value else f"--no-{setting.name}"]
    assert found(read(*flag)) == value
    monkeypatch.setenv(setting.variable, text)
    assert found(read()) == value
    monkeypatch.delenv(setting.variable)
    in_toml = text if setting.is_flag or text.isdecimal() else f'"{text}"'
    (tmp_path / "reprise.toml").write_text(f"{setting.name} = {in_toml}\n")
    assert found(read()) == value


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--http-port", "70000"], "70000 is not between 0 and 65535"),
        (["--http-port", "x"], "no whole number"),
        (["--http-port", "-1"], "no whole number"),
        (["--host", "a b"], "neither an IP address nor a host name"),
        (["--announce", "sfu.example"], "no IP address"),
        (["--announce", "0.0.0.0"], "no address that a client can send to"),
        (["--rtc-ports", "10100-10000"], "no range of ports"),
        (["--rtc-ports", "0-5"], "no range of ports"),
        (["--rtc-ports", "1-70000"], "no range of ports"),
        (["--codecs", "VP7"], "none of opus"),
        (["--codecs", " , "], "at least one"),
        (["--allowed-origins", "app.example"], "no origin"),
        (["--log-level", "loud"], "none of debug"),
        (["--tls-cert", "x"], "belong together"),
        (["--http-port", "3001"], "are both 3001"),
        (["--workers", "3", "--rtc-ports", "10000-10001"], "3 workers need as many ports"),
        (["--open", "--secret", SECRET], "contradict"),
        (["--secret", "short"], "shorter than 32 bytes"),
        (["--secret-file", "nowhere"], "No such file"),
        (["--outbox-bytes-max", "65536"], "less than message-bytes-max"),
        (["--peers-per-room-max", "5000"], "allows 20000 transports in a room"),
        (["--producers-per-peer-max", "9"], "18000 producers in a room, and the media plane"),
        (["--consumers-per-peer-max", "66"], "carries 131072: lower one of them"),
        (["--resume-grace-s", "1.5"], "no whole number"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_values_are_refused_in_one_line(arguments, word):
    message = refused(*arguments)
    assert word in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("http_prt = 1", "unknown setting 'http_prt'; did you mean 'http-port'?"),
        ("http_port = 1", "did you mean 'http-port'?"),
        ("http-port = true", "http-port: True is no whole number"),
        ("http-port = 1.5", "http-port: 1.5 is no whole number"),
        ('open = "maybe"', "open: 'maybe' is neither true nor false"),
        ("announce = 7", "announce: 7 is no list"),
        ("host = 7", "host: 7 is no text"),
        ("[network]\nhost = 'x'", "unknown setting 'network'"),
        ("http-port = ", "Invalid value"),
        ("a = 1\na = 2", "reprise.toml"),
    ],
)
def test_the_file_is_named_when_it_is_wrong(tmp_path, text, word):
    (tmp_path / "reprise.toml").write_text(text)
    message = refused()
    assert "reprise.toml" in message
    assert word in message


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path):
    assert "nowhere.toml" in refused("--config", "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    assert "binary.toml" in refused("--config", "binary.toml")


def test_the_secret_comes_from_a_file(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    assert read("--secret-file", str(path)).access.secret == Secret(SECRET)
    other = "another secret of thirty-two bytes!"
    monkeypatch.setenv("REPRISE_SECRET", other)
    assert read("--secret-file", str(path)).access.secret == Secret(SECRET)
    assert read().access.secret == Secret(other)
    monkeypatch.setenv("REPRISE_SECRET_FILE", str(path))
    assert "both set" in refused()
    path.write_text("short")
    monkeypatch.delenv("REPRISE_SECRET")
    message = refused()
    assert str(path) in message
    assert "'short'" not in message


def test_settings_show_no_secret():
    assert SECRET not in repr(read("--secret", SECRET))


def test_workers_fit_the_ports():
    assert worker_count(settings_of({"workers": 2})) == 2
    few = settings_of({"rtc_ports": PortRange(10000, 10000)})
    assert worker_count(few) == 1
    with pytest.raises(SettingsError):
        settings_of({"workers": 2, "rtc_ports": PortRange(10000, 10000)})


def test_help_names_every_setting_with_variable_and_default():
    text = " ".join(CliRunner().invoke(serve, ["--help"]).output.split()).replace("- ", "-")
    for setting in SETTINGS:
        assert f"--{setting.name}" in text
        assert re.search(rf"env: ?{setting.variable};", text), setting.name
        assert f"default: {setting.shown}]" in text, setting.name


def test_the_documentation_lists_every_setting_as_it_is():
    page = DOCS.read_text()
    table = page.partition(BEGIN)[2].partition(END)[0]
    assert table.strip() == settings_table().strip(), "run python -m gateway.settings_page"
    for setting in SETTINGS:
        assert f"`{setting.name}`" in table


def test_wrong_usage_exits_with_2_and_one_line(capsys):
    assert run(["serve", "--http-port", "x"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("reprise: ")


def test_a_value_from_the_environment_is_told_to_be_from_there(capsys, monkeypatch):
    monkeypatch.setenv("REPRISE_HTTP_PORT", "x")
    assert run(["serve"]) == 2
    assert "(from the environment: REPRISE_HTTP_PORT)" in capsys.readouterr().err


def test_what_the_plane_carries_is_what_its_tables_hold():
    config = (DOCS.parents[1] / "media/native/src/engine/config.rs").read_text()
    for name, most in (
        ("transports", settings_module.PLANE_TRANSPORTS_MAX),
        ("producers", settings_module.PLANE_PRODUCERS_MAX),
        ("consumers", settings_module.PLANE_CONSUMERS_MAX),
    ):
        assert f"{name}_max: {most:_}," in config
