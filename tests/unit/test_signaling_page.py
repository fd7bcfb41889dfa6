"""docs/signaling.md names all there is, and its examples are what they claim to be."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from protocol import answers, notifications
from protocol.refusals import Refusal, RefusalCode
from protocol.signaling import (
    JSON,
    METHODS,
    SUBPROTOCOLS,
    CloseCode,
    Request,
    command_of,
    decode_request,
)

PAGE = (Path(__file__).parents[2] / "docs" / "signaling.md").read_text()
BLOCKS = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
SENT = [line[2:] for block in BLOCKS for line in block.splitlines() if line.startswith("> ")]
TOLD = [line[2:] for block in BLOCKS for line in block.splitlines() if line.startswith("< ")]
ANSWERS = {
    "join": answers.Joined,
    "resume": answers.Joined,
    "createTransport": answers.TransportCreated,
    "consume": answers.Consumed,
}


def section(title):
    return re.split(r"\n## ", PAGE.partition(f"\n## {title}\n")[2])[0]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_there(method):
    assert f"`{method}`" in section("Methods")


@pytest.mark.parametrize("code", list(RefusalCode))
def test_every_error_is_there(code):
    assert f"`{code}`" in section("Errors")


@pytest.mark.parametrize("code", list(CloseCode))
def test_every_close_code_is_there(code):
    assert re.search(rf"^\| .*\b{int(code)}\b.* \|", section("Close codes"), re.MULTILINE)


def test_every_notification_is_there_and_no_other():
    source = Path(notifications.__file__).read_text()
    names = set(re.findall(r'Notification\(\s*"(\w+)"', source))
    names |= set(re.findall(r'"(producer\w+)" if', source)) | {"producerResumed"}
    rows = re.findall(r"^\| (`.*?) \|", section("Notifications"), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == names


@pytest.mark.parametrize("name", SUBPROTOCOLS)
def test_both_subprotocols_are_there(name):
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("kind", [answers.Joined, answers.Consumed])
def test_every_field_of_the_long_answers_is_there(kind):
    for field in msgspec.structs.fields(kind):
        assert f"| `{field.encode_name}` |" in section("Methods"), field.encode_name


@pytest.mark.parametrize("line", SENT)
def test_requests_in_examples_are_requests(line):
    request = decode_request(JSON, line)
    assert isinstance(request, Request)
    found = command_of(request, peer=None if request.method == "join" else "p_1")
    assert isinstance(found, Refusal) == (request.method == "dance"), found


def test_answers_in_examples_have_the_shape_of_answers():
    asked = {}
    checked = 0
    for block in BLOCKS:
        for line in block.splitlines():
            tree = json.loads(line[2:]) if line[:2] in {"> ", "< "} else {}
            if "method" in tree:
                asked[tree["id"]] = tree["method"]
            elif tree.get("ok"):
                kind = ANSWERS.get(asked[tree["id"]], answers.Done)
                value = msgspec.convert(tree["data"], kind)
                assert set(tree["data"]) <= set(msgspec.to_builtins(value)), line
                checked += 1
            elif "error" in tree:
                msgspec.convert(tree["error"], Refusal)
    assert checked == 7


def test_links_lead_somewhere():
    headings = {
        re.sub(r"[^\w\s-]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    for target in re.findall(r"\]\(#([\w-]+)\)", PAGE):
        assert target in headings
    settings = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    for target in re.findall(r"\]\(settings\.md#([\w-]+)\)", PAGE):
        assert f"## {target.replace('-', ' ')}" in settings.lower()
