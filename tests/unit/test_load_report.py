"""The load tester's report: figures of samples, thresholds, merging, the page. No server needed."""

from __future__ import annotations

import html.parser
import json

import msgspec
import pytest

from gateway import cli
from load import html_report, merge
from load.options import LoadOptions
from load.processes import Usage
from load.report import Report, distribution, histogram_distribution, report_of
from load.snapshot import (
    ClientCounts,
    DriverHealth,
    Latencies,
    ReceiveCounts,
    Snapshot,
    StreamRow,
    Summary,
    Totals,
)
from load.tester import Record, Sample
from load.text import progress_line, summary
from load.thresholds import judge, parse
from load.viewers import Viewers, merged, viewers_between

MS = 1_000_000


def sample(second: int, *, viewers: int = 10, lost: int = 0, drops: int = 0) -> Sample:
    """Each viewer receives 200 packets of 1,000 bytes a second."""
    packets = second * viewers * 200
    video = ReceiveCounts(
        packets=packets,
        payload_bytes=1_000 * packets,
        expected=packets + lost,
        lost=lost,
        frames=second * viewers * 30,
        freezes=second,
    )
    return Sample(
        at_s=float(second),
        joined=viewers,
        joining=0,
        snapshot=Snapshot(
            at_ns=second * 1_000 * MS,
            clients=viewers,
            totals=Totals(video=video, clients=ClientCounts(keyed=viewers)),
            video_latency=Summary(count=5, p50_ns=MS, p99_ns=3 * MS, max_ns=4 * MS),
            health=DriverHealth(cpu_ns=second * 250 * MS, queue_drops=drops),
        ),
        tool_cpu_s=0.5 * second,
        signaling_lag_ns=2 * MS,
        viewer_s=float(second * viewers),
        server=Usage(cpu_s=second * 0.004 * viewers, memory_bytes=10**8, processes=2),
    )


def record(samples: list[Sample], *, steady: int = 0) -> Record:
    made = Record()
    made.viewers_joined = made.viewers_now = samples[-1].joined
    made.join_ns = [10 * MS * (index + 1) for index in range(samples[-1].joined)]
    made.keyframe_ns = [20 * MS]
    made.samples = samples
    made.steady_from = samples[steady]
    made.rows_before = [row(client, 0) for client in range(10)]
    made.rows = [row(client, client * 3 * 10**5) for client in range(10)]
    made.latencies_before = Latencies(video=[(MS, 100)], audio=[])
    made.latencies = Latencies(video=[(MS, 190), (9 * MS, 10)], audio=[(MS, 900)])
    return made


def report(**more: int) -> Report:
    lost = more.get("lost", 0)
    samples = [sample(1), sample(2), sample(5, lost=lost, drops=more.get("drops", 0))]
    return report_of(LoadOptions(url="ws://x", token="secret-token"), record(samples, steady=1))


def test_the_steady_time_begins_when_all_have_joined() -> None:
    made = report(lost=60)
    assert (made.steady.seconds, made.steady.packets) == (3.0, 6_000)
    assert (made.whole.seconds, made.whole.packets) == (5.0, 10_000)
    assert made.steady.loss == 60 / 6_060
    assert made.steady.bitrate_per_viewer_bps == 1.6e6
    assert made.steady.freezes == 3
    assert made.steady.latency_ms.count == 1_000, "those before it do not count"
    assert made.steady.video_latency_ms.max == 9.0
    assert made.tool.media_cpu == pytest.approx(0.25)
    assert made.server_usage is not None
    assert made.server_usage.cpu_us_per_packet == pytest.approx(20.0)


def row(client: int, payload_bytes: int, freezes: int = 0, *, stream: int = 0) -> StreamRow:
    counts = ReceiveCounts(payload_bytes=payload_bytes, freezes=freezes)
    return StreamRow(client=client, stream=stream, video=stream == 0, jitter_ns=0, counts=counts)


def test_viewers_are_told_apart_by_what_each_received() -> None:
    before = [row(1, 1_000), row(2, 500), row(2, 100, stream=1), row(3, 9_000, 4), row(8, 0)]
    after = [row(1, 1_000), row(2, 1_300, 1), row(2, 300, 1, stream=1), row(3, 11_000, 4)]
    made = viewers_between(before, [*after, row(9, 10**6)], 2.0)
    assert made.bitrates_bps == (0, 4_000, 8_000), "without those who came or left in between"
    assert (made.slowest_bps, made.median_bps, made.fastest_bps) == (0, 4_000, 8_000)
    assert (made.count, made.freezing) == (3, 1)
    assert viewers_between(before, after, 0.0) == viewers_between([], [], 1.0) == Viewers()


def test_viewers_of_several_testers_are_counted_together() -> None:
    parts = [viewers_between([row(1, 0)], [row(1, size, 1)], 1.0) for size in (300, 100, 200)]
    made = merged([*parts, Viewers()])
    assert made.bitrates_bps == (800, 1_600, 2_400)
    assert (made.median_bps, made.count, made.freezing) == (1_600, 3, 3)


def test_a_run_that_did_not_come_far_has_a_report() -> None:
    empty = Record()
    empty.stopped = True
    made = report_of(LoadOptions(url="ws://x"), empty)
    assert (made.steady.packets, made.steady.loss, made.timeline) == (0, 0.0, ())
    assert "stopped early" in summary(made)
    assert "<html" in html_report.page(made)
    options = LoadOptions(url="ws://x", viewers=5)
    assert progress_line(empty, options) == "0 publishers, 0/5 viewers"


def test_progress_says_what_is_going_on_and_what_arrives() -> None:
    options = LoadOptions(url="ws://x", viewers=12, duration_s=30.0)
    made = record([sample(1), sample(2)])
    assert progress_line(made, options).startswith("measured 1 of 30 s  10/12 viewers  16.0 Mbit/s")
    made.steady_from = None
    made.viewers_now = 11
    assert progress_line(made, options).startswith("joining  10/12 viewers"), "all of one moment"


def test_progress_tells_of_the_steady_time_what_the_report_will() -> None:
    options = LoadOptions(url="ws://x", viewers=10, duration_s=30.0)
    samples = [sample(1), sample(4, lost=500), sample(5, lost=560)]
    made = record(samples, steady=1)
    line = progress_line(made, options)
    assert f"loss {60 / 2_060:.3%}" in line
    assert "  1 freezes" in line
    # The steady time begins with a sample of its own, soon after one of each second.
    begin = msgspec.structs.replace(samples[2], at_s=5.01)
    made = record([*samples, begin], steady=3)
    assert "15.8 Mbit/s" in progress_line(made, options), "of 1.01 s"


def test_a_report_shows_no_secret() -> None:
    assert b"secret-token" not in msgspec.json.encode(report())
    assert "secret-token" not in html_report.page(report())


def test_what_the_tool_was_too_slow_for_is_a_warning() -> None:
    made = report(drops=7)
    assert any("7 datagrams" in one for one in made.tool.warnings)
    assert "WARNING" in summary(made)
    assert report().tool.warnings == ()


@pytest.mark.parametrize(
    ("condition", "failed"),
    [
        ("loss>0.1%", True),
        ("loss>2%", False),
        ("loss > 0.02", False),
        ("latency_p99>2ms", False),
        ("latency_max>=9ms", True),
        ("latency_max>0.01s", False),
        ("joined<10", False),
        ("joined<11", True),
        ("bitrate<1.7M", True),
        ("packet_cpu>19", True),
        ("keyframe_p50>30ms", False),
    ],
)
def test_thresholds_compare_in_the_units_they_name(condition: str, failed: bool) -> None:
    assert judge(parse(condition), report(lost=60)).failed is failed


def test_what_was_not_measured_fails_a_threshold_about_it() -> None:
    made = msgspec.structs.replace(report(), server_usage=None)
    verdict = judge(parse("packet_cpu>1000"), made)
    assert (verdict.value, verdict.failed) == (None, True)


def test_quantiles_of_values_and_of_histograms() -> None:
    values = distribution([float(n) for n in range(1, 101)])
    assert (values.p50, values.p99, values.max, values.mean) == (50.0, 100.0, 100.0, 50.5)
    both = histogram_distribution([(MS, 98)], [(5 * MS, 2)])
    assert (both.p50, both.p99, both.max, both.count) == (1.0, 5.0, 5.0, 100)
    assert histogram_distribution([]).p50 is None


def test_merged_reports_are_as_if_measured_together() -> None:
    one, two = report(lost=60), report()
    both = merge.merge([one, two])
    assert both.parts == 2
    assert both.joins.joined == 20
    assert both.steady.packets == one.steady.packets + two.steady.packets
    assert both.steady.loss == 60 / 12_060
    assert both.steady.bitrate_per_viewer_bps == pytest.approx(1.6e6)
    assert both.steady.latency_ms.count == 2_000
    assert both.steady.latency_ms.p50 == one.steady.latency_ms.p50
    assert both.joins.join_ms.count == 20
    assert merge.merge([both]).steady == both.steady, "merging can be repeated"
    alone = merge.merge([one])
    assert msgspec.structs.replace(alone, tool=one.tool) == one


def test_reports_are_merged_from_files(tmp_path, capsys) -> None:
    paths = []
    for index, made in enumerate((report(lost=60), report())):
        paths.append(tmp_path / f"{index}.json")
        paths[-1].write_bytes(msgspec.json.encode(made))
    page = tmp_path / "both.html"
    arguments = ["load", "merge", *map(str, paths), "--json", f"--report={page}"]
    assert cli.run([*arguments, "--fail-if=joined<20"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["joins"]["joined"] == 20
    assert page.read_text().startswith("<!doctype html>")
    assert cli.run([*arguments, "--fail-if=loss>0.1%"]) == 3


def test_what_is_no_report_is_not_merged(tmp_path, capsys) -> None:
    for content in (b"", b"[]", b'{"version": 1}', msgspec.json.encode({"version": 7})):
        path = tmp_path / "bad.json"
        path.write_bytes(content)
        assert cli.run(["load", "merge", str(path)]) == 1
        assert "no report of reprise load" in capsys.readouterr().err


class _Parser(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "line", "polyline", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def test_the_page_is_one_file_with_plots_and_escapes_what_it_is_told() -> None:
    samples = [sample(second) for second in range(1, 8)]
    made = report_of(LoadOptions(url="ws://x/<script>"), record(samples))
    page = html_report.page(made, (judge(parse("loss>=0"), made),))
    parser = _Parser()
    parser.feed(page.replace("<!doctype html>", "").replace("/>", ">"))
    assert parser.open == []
    assert parser.seen.count("svg") >= 8
    assert "script" not in parser.seen
    assert parser.links == []
    assert "Failed: loss" in page
    assert "nan" not in page
