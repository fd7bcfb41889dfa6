"""The search for the most viewers that a core carries, of the forwarding bench."""

from bench.most import search, told


def row(viewers: int, **changed: object) -> dict[str, object]:
    """A measured row of a router that spends 0.08 % of a core on a viewer."""
    return {
        "viewers": viewers,
        "joined": viewers,
        "loss": 0.0,
        "packets_per_s": 230.0 * viewers,
        "frozen": 0,
        "core": 0.0008 * viewers,
        "latency_p99_ms": 20.0,
        "tool_core": 0.5,
        "tool_media_core": 0.5,
        "tool_drops": 0,
        "tool_waited": 0.0,
    } | changed


def test_the_search_ends_between_what_is_carried_and_what_is_not():
    tried: list[int] = []

    def measure(viewers: int) -> dict[str, object]:
        tried.append(viewers)
        return row(viewers, loss=0.0 if viewers <= 1180 else 0.01)

    found = search(measure, row(1000), lambda _: None)
    assert found["viewers"] <= 1180 < found["next_failed"] <= found["viewers"] + 100
    assert len(tried) == len(set(tried)) <= 6
    assert "was not the limit" in told(found)


def test_viewers_who_get_less_than_was_published_are_not_carried():
    found = search(
        lambda viewers: row(viewers, packets_per_s=230.0 * viewers * 0.9),
        row(1000),
        lambda _: None,
    )
    assert found["viewers"] == 1000
    assert found["trials"][0]["missed"] == "viewers got 90.0% of what was published"


def test_where_the_tester_was_too_slow_nothing_is_said_of_the_router():
    found = search(lambda viewers: row(viewers, loss=0.02, tool_drops=7), row(1000), lambda _: None)
    assert len(found["trials"]) == 1
    assert "the router's own limit is not known" in told(found)
