"""`reprise load` in other shapes: churn, layers, meetings, bad networks, two testers at once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import COMMAND, ROOT, Server, reprise

PATIENT = "--no-transport-cc"
"""So that a machine whose cores are taken does not count as a path without bandwidth."""

pytestmark = [pytest.mark.plane, pytest.mark.timeout(90)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("load-shapes")
    server = Server(directory / "data", directory / "logs")
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.close()


def load(server: Server, room: str, *options: str) -> dict[str, Any]:
    done = reprise("load", server.signaling_url, f"--room={room}", "--json", PATIENT, *options)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["joins"]["failed"] == report["joins"]["lost"] == 0, report["joins"]
    return report


def test_viewers_leave_and_others_come(server: Server) -> None:
    report = load(server, "churn", "--viewers=8", "--churn=6", "--duration=4s")
    joins, steady = report["joins"], report["steady"]
    assert joins["left"] >= 8
    assert joins["joined"] == joins["at_end"] + joins["left"]
    assert joins["first_keyframe_ms"]["count"] > 8, "who comes later sees a picture as well"
    assert steady["lost"] == 0, "a stream that begins or ends in between has no gap"


def test_viewers_of_a_simulcast_get_the_largest_layer_without_a_gap(server: Server) -> None:
    report = load(server, "layers", "--viewers=4", "--simulcast", "--no-audio", "--duration=4s")
    steady, sent = report["steady"], report["sent"]
    # The layers have 8, 25 and 67 % of 1.5 Mbit/s.
    assert 0.8e6 < steady["bitrate_per_viewer_bps"] < 1.15e6
    assert steady["lost"] == 0
    assert sent["frames"] > 2.5 * 30 * steady["seconds"], "of three layers"
    assert steady["frames"] < 1.2 * 4 * 30 * steady["seconds"], "of one"
    assert steady["frozen_at_end"] == 0


def test_each_viewer_watches_all_publishers_of_its_room_and_no_others(server: Server) -> None:
    report = load(
        server,
        "meeting",
        "--rooms=2",
        "--publishers=3",
        "--viewers=3",
        "--bitrate=300k",
        "--duration=3s",
    )
    steady = report["steady"]
    assert report["joins"]["joined"] == 6
    # Three videos and three times opus, whose payload is small beside them.
    assert 0.75e6 < steady["bitrate_per_viewer_bps"] < 1.25e6
    assert 0.8 * 6 * 3 * 30 < steady["frames"] / steady["seconds"] < 1.2 * 6 * 3 * 30
    assert steady["lost"] == 0


def test_h264_over_a_long_and_lossy_way_is_mended(server: Server) -> None:
    report = load(
        server,
        "far",
        "--codec=H264",
        "--no-audio",
        "--viewers=4",
        "--loss=1%",
        "--delay=40ms",
        "--jitter=10ms",
        "--publisher-loss=1%",
        "--duration=4s",
    )
    steady, sent = report["steady"], report["sent"]
    assert steady["latency_ms"]["p50"] >= 40
    assert steady["recovered"] > 0.005 * steady["packets"]
    assert steady["loss"] < 0.005, "of two per cent on both ways together"
    assert sent["retransmitted"] > 0, "the way up is lossy too"


def test_two_testers_in_one_room_are_merged_into_one_report(server: Server, tmp_path: Path) -> None:
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    options = ["--room=both", PATIENT, "--viewers=3", "--ramp=0s", "--quiet"]
    testers = []
    for file, publishers, seconds in zip(files, (1, 0), (8, 3), strict=True):
        command = [*COMMAND, "load", server.signaling_url, *options, f"--output={file}"]
        command += [f"--publishers={publishers}", f"--duration={seconds}s"]
        testers.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL))
    assert [tester.wait(60) for tester in testers] == [0, 0]
    one, two = (json.loads(file.read_text()) for file in files)
    assert two["sent"]["packets"] == 0
    whole = two["whole"]
    # The second's viewers begin with pictures out of the cache, which no latency is told of.
    assert whole["past"] > 0
    assert two["tool"]["foreign_stamps"] == whole["packets"] - whole["past"] > 0
    assert any("clocks" in warning for warning in two["tool"]["warnings"])

    page = tmp_path / "both.html"
    merged = reprise(
        "load", "merge", *map(str, files), "--json", f"--report={page}", "--fail-if=joined<7"
    )
    assert merged.returncode == 3, merged.stderr
    both = json.loads(merged.stdout)
    assert (both["parts"], both["joins"]["joined"]) == (2, 6)
    for name in ("packets", "expected", "lost", "frames"):
        assert both["steady"][name] == one["steady"][name] + two["steady"][name]
    assert both["steady"]["latency_ms"]["count"] == both["steady"]["packets"]
    assert both["steady"]["latency_ms"]["max"] == max(
        part["steady"]["latency_ms"]["max"] for part in (one, two)
    )
    assert "6 of 6 joined" in page.read_text()
