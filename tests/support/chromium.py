"""A real Chromium, and the pages of Reprise in it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
from playwright.sync_api import Browser, Page, Route, WebSocket, sync_playwright

PROBE = (Path(__file__).parent / "probe.js").read_text()
WAIT_S = 30.0
"""How long a page has for what it should do. Only failures take so long."""

_ALWAYS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FAKE_DEVICES = ("--use-fake-device-for-media-stream",)
FAKE_CONSENT = ("--use-fake-ui-for-media-stream",)


SHOW = """(shown) => {
  Object.defineProperty(document, 'hidden', { value: !shown, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


Launch = Callable[..., Browser]
"""Launches a Chromium with a fresh profile and the given flags. `launcher` turns the path of
Chromium into that of a program to run in its place."""


@contextlib.contextmanager
def launching() -> Iterator[Launch]:
    """What launches browsers, and closes them in the end. One at a time in a process."""
    executable = shutil.which("chromium")
    assert executable, "the tests need Chromium: make test installs it"
    with sync_playwright() as playwright, contextlib.ExitStack() as open_browsers:

        def launch(*flags: str, launcher: Callable[[str], str] | None = None) -> Browser:
            browser = playwright.chromium.launch(
                executable_path=launcher(executable) if launcher else executable,
                chromium_sandbox=False,
                args=[*_ALWAYS, *flags],
                ignore_default_args=["--mute-audio"],
            )
            open_browsers.callback(browser.close)
            return browser

        yield launch


class Tab:
    """A page in a context of its own, with all that it said and heard."""

    def __init__(self, browser: Browser, name: str, *, probed: bool = True, **options: Any) -> None:
        self.name = name
        self.console: list[str] = []
        self.faults: list[str] = []
        self.heard: list[dict[str, Any]] = []
        """Frames from the server, of all sockets, in order of arrival."""
        self.asked: list[list[str]] = []
        """Methods of the page's requests, a list for each socket."""
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, **options}
        )
        self.context.set_default_timeout(WAIT_S * 1000)
        if probed:  # it takes a share of the processor: what is timed may do without
            self.context.add_init_script(PROBE)
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("websocket", self._on_socket)

    def signal_through(self, url: str) -> None:
        """Have this page signal at another address than the server tells it."""

        def answer(route: Route) -> None:
            response = route.fetch()
            route.fulfill(response=response, json={**response.json(), "signalingUrl": url})

        self.context.route("**/config.json", answer)

    def open(self, url: str) -> Tab:
        """Go to an address."""
        self.page.goto(url)
        return self

    def close(self) -> None:
        """Close the page as a person does."""
        self.page.close()
        self.context.close()

    @property
    def state(self) -> str:
        """What the page says that it is in."""
        return self.page.locator("html").get_attribute("data-state") or ""

    @property
    def status(self) -> str:
        """The words of the status line."""
        return self.text("#status")

    def text(self, selector: str) -> str:
        """The words of an element."""
        return self.page.inner_text(selector).strip()

    def wait(self, condition: str, timeout_s: float = WAIT_S) -> None:
        """Wait until a JavaScript expression is true."""
        # A function, not an expression: the pages' policy forbids eval.
        self.page.wait_for_function(f"() => {condition}", timeout=timeout_s * 1000, polling=50)

    def wait_state(self, *states: str, timeout_s: float = WAIT_S) -> str:
        """Wait until the page is in one of the states."""
        self.wait(f"{list(states)}.includes(document.documentElement.dataset.state)", timeout_s)
        return self.state

    def wait_status(self, words: str, timeout_s: float = WAIT_S) -> None:
        """Wait until the status line has these words."""
        self.wait(f"document.querySelector('#status').textContent === {words!r}", timeout_s)

    def wait_text(self, selector: str, pattern: str, timeout_s: float = WAIT_S) -> str:
        """Wait until an element's words match a pattern; returns them."""
        self.wait(
            f"new RegExp({pattern!r}).test(document.querySelector({selector!r}).textContent)",
            timeout_s,
        )
        return self.text(selector)

    def mark(self, name: str = "mark") -> dict[str, Any]:
        """Remember the figures as they are now."""
        self.wait("probe.now !== null")
        sample: dict[str, Any] = self.page.evaluate("name => probe.mark(name)", name)
        return sample

    def now(self) -> dict[str, Any]:
        """The figures as they are now."""
        sample: dict[str, Any] = self.page.evaluate("probe.now")
        return sample

    def wait_grown(
        self, field: str, by: float, mark: str = "mark", timeout_s: float = WAIT_S
    ) -> None:
        """Wait until a figure is larger than at the mark, by at least this."""
        self.wait(f"probe.grown({mark!r}, {field!r}) >= {by}", timeout_s)

    def assert_plays(self, frames: int = 10) -> None:
        """Video moves on the screen: new frames, another picture, and time goes on."""
        self.wait("probe.markPicture('plays')")
        self.wait_grown("framesDecoded", frames, "plays")
        self.wait_grown("currentTime", 0.3, "plays")
        self.wait("probe.changed('plays') > 0.002")
        self.wait("probe.contrast() > 50")

    def assert_sounds(self) -> None:
        """After a tap, sound is heard: Chromium measures no level while it is off."""
        # Pictures may come before there is sound to be offered.
        tap, sound = "document.querySelector('#tap')", "document.querySelector('#sound')"
        self.wait(f"!{tap}.hidden || (!{sound}.hidden && {sound}.classList.contains('is-on'))")
        if self.page.is_visible("#tap"):
            self.page.click("#tap")
        self.wait("probe.now.audioLevel > 0.01")

    def consumers(self) -> list[str]:
        """Ids of what the page consumes."""
        ids: list[str] = self.page.evaluate(
            "[...(window.reprise.session?.consumers.values() ?? [])].map(({ id }) => id).sort()"
        )
        return ids

    def wait_other_consumers(self, before: list[str], timeout_s: float = WAIT_S) -> None:
        """Wait until the page consumes as much as before, but nothing that it did before."""
        self.wait(
            "(([now, before]) => now.length === before.length && !now.some((id) =>"
            " before.includes(id)))([[...(window.reprise.session?.consumers.values() ?? [])]"
            f".map(({{ id }}) => id), {before}])",
            timeout_s,
        )

    def notifications(self, event: str | None = None) -> list[dict[str, Any]]:
        """What the page was told so far, welcomes left out."""
        return [
            frame
            for frame in self.heard
            if frame.get("event") not in {None, "welcome"} and event in {None, frame["event"]}
        ]

    def show(self, shown: bool) -> None:
        """Bring the page to the front, or behind another, as far as it can tell."""
        self.page.evaluate(SHOW, shown)

    def tick(self) -> None:
        """Let what arrived from the browser be taken in."""
        self.page.evaluate("0")

    def _on_socket(self, socket: WebSocket) -> None:
        methods: list[str] = []
        self.asked.append(methods)
        socket.on("framereceived", lambda frame: self.heard.append(msgpack.unpackb(frame)))
        socket.on("framesent", lambda frame: methods.append(msgpack.unpackb(frame)["method"]))


class Studio:
    """The host and viewer pages of one test, on one server."""

    def __init__(self, browser: Browser, url: str, room: str, output: Path) -> None:
        self.url = url
        self.room = room
        self.tabs: list[Tab] = []
        self._browser = browser
        self._output = output

    def tab(self, name: str, **options: Any) -> Tab:
        """An empty tab in a context of its own."""
        tab = Tab(self._browser, f"{name}-{len(self.tabs)}", **options)
        self.tabs.append(tab)
        return tab

    def host(self, query: str = "", fragment: str = "", **options: Any) -> Tab:
        """The host page, not live yet."""
        address = f"{self.url}/host?room={self.room}&{query}#{fragment}"
        return self.tab("host", **options).open(address)

    def live_host(self, query: str = "", fragment: str = "", **options: Any) -> Tab:
        """The host page, live."""
        tab = self.host(query, fragment, **options)
        tab.page.click("#start")
        tab.wait_state("live")
        return tab

    def viewer(self, query: str = "", fragment: str = "", **options: Any) -> Tab:
        """The viewer page."""
        address = f"{self.url}/viewer/{self.room}?{query}#{fragment}"
        return self.tab("viewer", **options).open(address)

    def watching(self, query: str = "", fragment: str = "", **options: Any) -> Tab:
        """The viewer page, with the stream playing."""
        tab = self.viewer(query, fragment, **options)
        tab.wait_state("live")
        return tab

    def keep(self) -> None:
        """Write down what each open tab shows and has said."""
        self._output.mkdir(parents=True, exist_ok=True)
        for tab in self.tabs:
            (self._output / f"{tab.name}.console.log").write_text(
                "\n".join([*tab.console, *(f"uncaught: {fault}" for fault in tab.faults), ""])
            )
            if not tab.page.is_closed():
                self.shot(tab, tab.name)
                figures = tab.page.evaluate("window.probe ? { ...probe.now, pixels: null } : null")
                (self._output / f"{tab.name}.figures.json").write_text(
                    json.dumps(figures, indent=1)
                )

    def shot(self, tab: Tab, name: str, **options: Any) -> Path:
        """Keep a picture of a page."""
        self._output.mkdir(parents=True, exist_ok=True)
        path = self._output / f"{re.sub('[^a-zA-Z0-9_-]', '-', name)}.png"
        tab.page.screenshot(path=path, **options)
        return path

    def close(self) -> None:
        """Close all tabs."""
        for tab in self.tabs:
            if not tab.page.is_closed():
                tab.close()

    def assert_faultless(self) -> None:
        """No page threw what nobody caught."""
        faults = {tab.name: tab.faults for tab in self.tabs if tab.faults}
        assert not faults, faults
