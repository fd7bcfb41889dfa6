"""Session ids and ICE passwords come from one key, which is kept from others."""

import os
import stat

import pytest

from gateway.errors import StartupError
from gateway.keys import KEY_FILE, Secret, ServerKeys, load_keys

KEYS = ServerKeys(bytes(range(32)))


def test_a_session_id_says_whose_it_is_and_cannot_be_made_by_others():
    made = KEYS.session_id("lobby", "p_1")
    assert KEYS.session_of(made) == ("lobby", "p_1")
    assert made.startswith("lobby.p_1.")
    for forged in (
        made[:-1],
        made + "A",
        made.replace("p_1", "p_2"),
        made.replace("lobby", "other"),
        "lobby.p_1.",
        "..",
        None,
        b"x",
        made + "\udc80",
        "\udc80.\udc80.\udc80",
    ):
        assert KEYS.session_of(forged) is None
    assert ServerKeys(bytes(32)).session_of(made) is None


def test_ice_passwords_follow_from_the_fragment_and_are_long_enough():
    password = KEYS.ice_password("ufrag")
    assert password == KEYS.ice_password("ufrag")
    assert password != KEYS.ice_password("ufrah")
    assert len(password) == 32
    assert all(letter.isalnum() or letter in "+/" for letter in password)
    assert ServerKeys(bytes(32)).ice_password("ufrag") != password


def test_the_two_kinds_share_no_key():
    mac = KEYS.session_id("a", "b").split(".")[2]
    assert not KEYS.ice_password("a.b").replace("+", "-").replace("/", "_").startswith(mac[:8])


def test_the_key_is_made_once_for_its_owner_alone(tmp_path):
    first = load_keys(tmp_path)
    path = tmp_path / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_keys(tmp_path).session_id("a", "b") == first.session_id("a", "b")
    assert [entry.name for entry in tmp_path.iterdir()] == [KEY_FILE]
    path.unlink()
    assert load_keys(tmp_path).session_id("a", "b") != first.session_id("a", "b")


def test_a_key_that_others_can_read_is_refused(tmp_path):
    load_keys(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(StartupError, match="chmod 600"):
        load_keys(tmp_path)


@pytest.mark.parametrize("content", [b"", b"xyz", b"00" * 31, b"\xff\xfe", b"00" * 33])
def test_a_damaged_key_is_refused_and_kept(tmp_path, content):
    path = tmp_path / KEY_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StartupError, match=r"secret\.key is damaged"):
        load_keys(tmp_path)
    assert path.read_bytes() == content


def test_a_missing_directory_is_one_clear_line(tmp_path):
    with pytest.raises(StartupError, match="No such file"):
        load_keys(tmp_path / "nowhere")


def test_a_draft_that_a_crash_left_behind_does_not_matter(tmp_path):
    (tmp_path / f".{KEY_FILE}.{os.getpid()}").write_text("half")
    assert load_keys(tmp_path)


def test_a_secret_shows_itself_to_nobody():
    secret = Secret("hunter2hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "hunter2hunter2"
    assert secret == Secret("hunter2hunter2")
    assert secret != Secret("hunter3hunter3")
    assert secret != "hunter2hunter2"
    assert hash(secret) == hash(Secret("hunter2hunter2"))
