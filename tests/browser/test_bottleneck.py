"""Viewers in a real Chromium behind a real bottleneck, and one beside them that has none.

The host's Chromium, the server and one viewer share this machine; each other viewer's Chromium has
a network namespace of its own, whose link to the server is narrowed or disturbed. What is asserted
about freezes is what Chromium itself measures (W3C webrtc-stats). On a machine that lacks CPU a
decoder freezes without any network: so a freeze is held against the longest one of the viewer
without a bottleneck in the same time.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import opened
from tests.support.camera import grainy_film
from tests.support.chromium import FAKE_CONSENT, FAKE_DEVICES, Launch, Studio, Tab
from tests.support.networks import (
    Namespace,
    behind_veth,
    behind_wire,
    preceding,
    urgent,
    why_not,
)
from tests.support.serving import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

ROOM = "bottleneck"
NARROW_BPS = 500_000
DOWN_S, UP_S, FREEZE_S_MAX = 15.0, 30.0, 2.0
"""Bounds for a loaded machine, whose encoder makes twelve pictures a second and a keyframe when it
comes to it; the figures are in docs/adaptation.md, and virtual time holds freezes to a second."""

WATCHED_S = 6.0
Watch = Callable[[Namespace], Tab]


@pytest.fixture(scope="module", autouse=True)
def precedence() -> Iterator[None]:
    """What these tests start goes before other work of the machine; skips where it cannot run."""
    if reason := why_not():
        pytest.skip(reason)
    with preceding():
        yield


@pytest.fixture(scope="module")
def veth(precedence: None) -> Iterator[Namespace]:
    """A namespace whose link's capacity can be set."""
    with behind_veth() as namespace:
        yield namespace


@pytest.fixture(scope="module")
def wire(precedence: None) -> Iterator[Namespace]:
    """A namespace whose link can lose and delay packets."""
    with behind_wire() as namespace:
        yield namespace


@pytest.fixture(scope="module")
def shared_server(
    veth: Namespace,
    wire: Namespace,
    module_output: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A server that both namespaces reach."""
    announced = [f"--announce={namespace.here}" for namespace in (veth, wire)]
    options = ["--host=0.0.0.0", "--open", *announced]
    server = Server(tmp_path_factory.mktemp("data"), module_output, options=options)
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.close()


@pytest.fixture(scope="module")
def stage(
    request: pytest.FixtureRequest,
    launch: Launch,
    shared_server: Server,
    module_output: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Tab, Tab]]:
    """A live host with three layers, and a viewer without a bottleneck.

    The parameter is the query of the host's address; without one it is three simulcast encodings.
    """
    directory = tmp_path_factory.mktemp("stage")
    film = grainy_film(directory / "film.y4m")
    flags = (*FAKE_DEVICES, *FAKE_CONSENT, f"--use-file-for-fake-video-capture={film}")
    browser = launch(*flags, launcher=urgent(directory))
    with opened(Studio(browser, shared_server.url, ROOM, module_output / "stage")) as studio:
        query = getattr(request, "param", "")
        heights = [720] if "scalability" in query else [180, 360, 720]
        host = studio.live_host(query)
        flowing = "probe.now?.layers.filter((layer) => layer.framesEncoded > 5)"
        host.wait(f"{flowing}.length === {len(heights)}")
        assert [layer["frameHeight"] for layer in host.now()["layers"]] == heights
        near = studio.watching()
        near.wait("probe.now.frameHeight === 720")
        yield host, near


@pytest.fixture
def watch(
    launch: Launch,
    shared_server: Server,
    stage: tuple[Tab, Tab],
    output: Path,
    tmp_path: Path,
) -> Iterator[Watch]:
    """Has a viewer in a namespace watch until it has all layers."""
    with contextlib.ExitStack() as open_studios:

        def watching(namespace: Namespace) -> Tab:
            url = f"http://{namespace.here}:{shared_server.http_port}"
            trusted = f"--unsafely-treat-insecure-origin-as-secure={url}"
            browser = launch(trusted, launcher=namespace.launcher(tmp_path))
            open_studios.callback(browser.close)
            studio = open_studios.enter_context(opened(Studio(browser, url, ROOM, output)))
            far = studio.watching()
            far.wait("probe.now?.frameHeight === 720")
            return far

        yield watching


@pytest.mark.parametrize(
    "stage",
    ["", "codec=vp9&scalability=L3T3", "codec=vp9&scalability=L3T3_KEY"],
    ids=["simulcast", "L3T3", "L3T3_KEY"],
    indirect=True,
)
def test_the_resolution_follows_a_link_that_is_narrowed_and_widened(
    watch: Watch, veth: Namespace, stage: tuple[Tab, Tab], output: Path
) -> None:
    near, far = stage[1], watch(veth)
    both = (far, near)
    mark(both, "all")
    veth.narrow(NARROW_BPS)
    try:
        far.wait("probe.now.frameHeight < 720", DOWN_S)
        mark(both, "narrow")
        stay(far, "narrow")
        assert far.now()["frameHeight"] < 720
        assert bitrate_bps(far, "narrow") < NARROW_BPS
        assert bitrate_bps(near, "narrow") > NARROW_BPS, "another viewer was touched"
        note(output, narrow=figures(both, "narrow"))
        assert_goes_on(both, "narrow")
    finally:
        veth.narrow(None)
    mark(both, "wide")
    far.wait("probe.now.frameHeight === 720", UP_S)
    note(
        output, up_s=far.page.evaluate("probe.grown('wide', 'at')") / 1e3, all=figures(both, "all")
    )
    assert_goes_on(both, "all")


@pytest.mark.parametrize("stage", [""], ids=["simulcast"], indirect=True)
@pytest.mark.parametrize(
    "disturbance",
    [
        {"loss": 0.05},
        {"delay_ms": 100.0},
        {"delay_ms": 40.0, "jitter_ms": 30.0},
        {"delay_ms": 100.0, "loss": 0.05},
    ],
    ids=["5-percent-loss", "100-ms-delay", "jitter", "loss-and-delay"],
)
def test_the_video_goes_on_over_a_disturbed_link(
    watch: Watch, wire: Namespace, stage: tuple[Tab, Tab], disturbance: dict[str, float]
) -> None:
    near = stage[1]
    wire.disturb(**disturbance)
    try:
        far = watch(wire)
        both = (far, near)
        mark(both, "disturbed")
        stay(far, "disturbed")
        assert_goes_on(both, "disturbed")
        if "loss" in disturbance:
            assert far.page.evaluate("probe.grown('disturbed', 'nackCount')") > 0
            assert far.page.evaluate("probe.grown('disturbed', 'retransmitted')") > 0
        if "delay_ms" in disturbance:
            least_ms = 2 * (disturbance["delay_ms"] - disturbance.get("jitter_ms", 0.0))
            round_trip_s = far.now()["roundTrip_s"]
            assert round_trip_s > 0.9 * least_ms / 1e3, "the link was not disturbed"
    finally:
        wire.disturb()


def mark(tabs: tuple[Tab, ...], name: str) -> None:
    """Remember the figures of all."""
    for tab in tabs:
        tab.mark(name)


def stay(tab: Tab, name: str, seconds: float = WATCHED_S) -> None:
    """Wait until a tab has sampled for so long since the mark."""
    tab.wait(f"probe.grown({name!r}, 'at') > {seconds * 1e3}")


def bitrate_bps(tab: Tab, name: str) -> float:
    """What a tab has received of video since the mark."""
    grown: dict[str, Any] = tab.page.evaluate(
        "(name) => ({ at: probe.grown(name, 'at'), bytes: probe.grown(name, 'videoBytes') })", name
    )
    return float(grown["bytes"]) * 8e3 / float(grown["at"])


def figures(both: tuple[Tab, Tab], name: str) -> dict[str, dict[str, Any]]:
    """What each measured since the mark."""
    return {
        tab.name: tab.page.evaluate(
            "(name) => ({ s: probe.grown(name, 'at') / 1e3, height: probe.now.frameHeight,"
            " frames: probe.grown(name, 'framesDecoded'), longest_s: probe.longestFreeze(name),"
            " freezes: probe.grown(name, 'freezeCount'), frozen_s: probe.grown(name, 'freezes_s'),"
            " lost: probe.grown(name, 'packetsLost') })",
            name,
        )
        for tab in both
    }


def note(output: Path, **measured: object) -> None:
    """Add what was measured to `figures.json` of the test."""
    path = output / "figures.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, **measured}, indent=1))


def assert_goes_on(both: tuple[Tab, Tab], name: str, freeze_s_max: float = FREEZE_S_MAX) -> None:
    """Since the mark pictures came, and no freeze was long, nor of another viewer."""
    far, near = both
    found = figures(both, name)
    own, other = found[far.name], found[near.name]
    assert own["frames"] > 2 * own["s"], found
    assert other["frames"] > 5 * other["s"], found
    assert own["longest_s"] < freeze_s_max + other["longest_s"], found
