"""Sequence diagrams in the real Mermaid: they parse, and all that was exported is drawn."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page

from protocol.envelope import Draft
from tests.replay.conftest import Commands
from tests.replay.sessions import START_NS, Session, store
from tests.support.chromium import Launch
from tests.support.serving import ROOT

pytestmark = pytest.mark.browser
DRAW = """async text => {
    mermaid.initialize({startOnLoad: false});
    const parsed = await mermaid.parse(text);
    const {svg} = await mermaid.render('diagram', text);
    document.body.innerHTML = svg;
    const texts = name => [...document.querySelectorAll(name)].map(each => each.textContent);
    return [parsed.diagramType, texts('.messageText'), texts('.noteText'),
        texts('text.actor.actor-box')];
}"""


@pytest.fixture(scope="module")
def page(launch: Launch) -> Page:
    """A page with Mermaid in it."""
    found = sorted((ROOT / ".make" / "tools").glob("mermaid-*.js"))
    assert found, "the tests need Mermaid: make test installs it"
    page = launch().new_page()
    page.set_content("<body></body>")
    page.add_script_tag(path=found[-1])
    return page


def arrows(text: str) -> list[str]:
    """What the lines between participants say."""
    return [line.partition(": ")[2] for line in text.splitlines() if "->>" in line]


@pytest.mark.parametrize("name", ["chromium-call", "chromium-plane-killed", "refused"])
def test_a_real_session_is_drawn_as_it_was_exported(page: Page, name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(ROOT / "tests" / "histories" / f"{name}.zip") as history:
        history.extractall(tmp_path)
    room = json.loads((tmp_path / "about.json").read_text())["room"]
    text = Commands(tmp_path).text("export", room, "--format", "mermaid")
    kind, messages, notes, participants = page.evaluate(DRAW, text)
    assert kind == "sequence"
    assert messages == arrows(text)
    assert len(notes) == text.count("    Note over ")
    named = {line.partition(" as ")[2] for line in text.splitlines() if " as " in line}
    assert set(participants) == named


def test_words_of_mermaid_and_of_html_are_text_in_a_diagram(page: Page, tmp_path: Path) -> None:
    session = Session()
    for word in ("end", "Note over n0; x", "<img src=x onerror=alert(1)>", "a->>b: #1", "%% c"):
        draft = Draft(at_ns=START_NS, actor=f"room/{word}", kind="message", type=word, data=b"\x80")
        session.drafts.append(draft)
    text = Commands(store(tmp_path / "data", session)).text(
        "export", "lobby", "--format", "mermaid"
    )
    kind, messages, _, participants = page.evaluate(DRAW, text)
    assert kind == "sequence"
    assert messages[-5:] == [
        "3 end", "4 Note over n0; x", "5 <img src=x onerror=alert(1)>", "6 a->>b: #1", "7 %% c",
    ]  # fmt: skip
    assert "room/<img src=x onerror=alert(1)>" in participants
    assert page.locator("svg img").count() == 0
