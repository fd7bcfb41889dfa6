"""Reads a trace in Chrome's JSON format as Perfetto's trace processor does, for tests.

Events are sorted by time, those of the same time as they stand in the file. Each track has a stack
of open slices; the ends of an arrow bind to the innermost slice that is open at their time. What
the format does not allow, and what an importer would drop, is an AssertionError.
"""

from typing import Any, NamedTuple

_FIELDS = {
    "B": {"name", "ts", "pid", "tid"},
    "E": {"ts", "pid", "tid"},
    "X": {"name", "ts", "dur", "pid", "tid"},
    "i": {"name", "ts", "pid", "tid", "s"},
    "s": {"name", "cat", "id", "ts", "pid", "tid"},
    "f": {"name", "cat", "id", "ts", "pid", "tid", "bp"},
    "M": {"name", "pid", "tid", "args"},
}


class Flow(NamedTuple):
    """An arrow between two slices."""

    source: dict[str, Any]
    target: dict[str, Any]


def read(events: list[dict[str, Any]]) -> list[Flow]:
    """The arrows of a trace, by the slices that they bind to."""
    named = {"process_name": set(), "thread_name": set()}
    for event in events:
        assert _FIELDS[event["ph"]] <= set(event), event
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] == "M" and event["name"] in named:
            assert isinstance(event["args"]["name"], str)
            named[event["name"]].add(event["tid"])
    timed = sorted((event for event in events if event["ph"] != "M"), key=lambda each: each["ts"])
    assert {event["tid"] for event in timed} <= named["thread_name"]
    assert len(named["process_name"]) == 1
    stacks: dict[int, list[dict[str, Any]]] = {}
    begun: dict[tuple[str, str, int], dict[str, Any]] = {}
    flows = []
    for event in timed:
        assert event["ts"] >= 0
        stack = stacks.setdefault(event["tid"], [])
        while stack and "dur" in stack[-1] and stack[-1]["ts"] + stack[-1]["dur"] <= event["ts"]:
            stack.pop()
        match event["ph"]:
            case "B":
                stack.append(event)
            case "X":
                ends = [each["ts"] + each["dur"] for each in stack if "dur" in each]
                assert all(event["ts"] + event["dur"] <= end for end in ends), "slices overlap"
                stack.append(event)
            case "E":
                assert stack.pop()["ph"] == "B", "an end closes what it did not begin"
            case "s":
                key = event["cat"], event["name"], event["id"]
                assert key not in begun
                begun[key] = stack[-1]
            case "f":
                assert event["bp"] == "e"
                source = begun.pop((event["cat"], event["name"], event["id"]))
                flows.append(Flow(source, stack[-1]))
    assert not begun, "arrows without an end"
    assert not any(stacks.values()), "slices without an end"
    return flows
