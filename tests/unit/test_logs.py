"""Log lines bear their context, hide secrets, and cannot be made endless."""

import io
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway import logs
from gateway.keys import Secret


@pytest.fixture
def lines():
    """Configure JSON lines into memory, and put everything back."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    level = root.level
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_a_line_bears_room_and_correlation(lines):
    with structlog.contextvars.bound_contextvars(room="lobby", correlation="p_1/7"):
        structlog.get_logger().info("joined", actor="room", peer="p_1")
    (line,) = lines()
    assert line["event"] == "joined"
    assert (line["room"], line["actor"], line["correlation"]) == ("lobby", "room", "p_1/7")
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")


def test_debug_lines_are_for_those_who_ask(lines):
    structlog.get_logger().debug("detail")
    assert lines() == []


@pytest.mark.parametrize(
    "key",
    ["token", "password", "ice_password", "pwd", "secret", "secretKey", "srtp-keys", "session"],
)
def test_secrets_are_blacked_out_however_deep(lines, key):
    structlog.get_logger().info("x", **{key: "hunter2"}, more={"list": [{key: ["hunter2"]}]})
    (line,) = lines()
    assert "hunter2" not in json.dumps(line)
    assert line[key] == logs.REDACTED


def test_counts_and_harmless_names_stay(lines):
    structlog.get_logger().info("x", sessions=4, keyframe="k", keys=3, monkey="m", tokens="t")
    (line,) = lines()
    assert (line["sessions"], line["keyframe"], line["keys"], line["monkey"]) == (4, "k", 3, "m")


def test_a_secret_value_is_hidden_under_any_name(lines):
    structlog.get_logger().info("x", harmless=Secret("hunter2"))
    assert "hunter2" not in json.dumps(lines())


@given(st.recursive(st.text(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=20))
def test_redaction_takes_anything(tree):
    logs.redact(None, "", {"tree": tree})


def test_the_standard_librarys_lines_look_the_same(lines):
    logging.getLogger("hypercorn.error").warning("slow %s", "client")
    logging.getLogger("elsewhere").info("password=%s", "shown")  # text is not looked into
    first, _ = lines()
    assert (first["event"], first["level"]) == ("slow client", "warning")
    assert first["logger"] == "hypercorn.error"


def test_errors_bring_their_traceback_without_local_values(lines):
    hunter = "hunter" + "2"
    try:
        int(f"x{len(hunter)}")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines()
    assert "ValueError: invalid literal" in line["exception"]
    assert "hunter2" not in line["exception"]


def test_repeated_lines_are_counted_instead(lines):
    log = structlog.get_logger()
    for number in range(100):
        log.warning("flood", number=number)
        logging.getLogger("trio-websocket").warning("flood %s", number)
    log.warning("other")
    assert len(lines()) == 2 * logs.REPEATS_MAX + 1
    assert lines()[-1]["event"] == "other"


def test_after_a_while_a_repeated_line_says_how_many_were_dropped():
    now_s = 0.0
    repeats = logs.Repeats(lambda: now_s)
    written = 0
    for _ in range(25):
        try:
            repeats(None, "", {"event": "flood", "level": "info"})
            written += 1
        except structlog.DropEvent:
            continue
    assert written == logs.REPEATS_MAX
    now_s = logs.REPEATS_WINDOW_S
    assert repeats(None, "", {"event": "flood", "level": "info"})["suppressed"] == 5
    now_s *= 2
    assert "suppressed" not in repeats(None, "", {"event": "flood", "level": "info"})


def test_the_memory_of_repeats_is_bounded():
    repeats = logs.Repeats(lambda: 0.0)
    for number in range(5000):
        repeats(None, "", {"event": f"line {number}", "level": "info"})
    assert len(repeats._seen) <= 512


def test_lines_for_people_are_one_line_each(lines):
    stream = io.StringIO()
    logs.configure("info", "console", stream)
    structlog.get_logger().info("joined", name="a\nb", token="hunter2")
    assert stream.getvalue().count("\n") == 1
    assert "hunter2" not in stream.getvalue()
