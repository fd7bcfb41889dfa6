"""How many viewers one core carries: the search of `python -m bench.forwarding --most`.

A number of viewers is *carried* if all of them joined, they lost less than 0.1 % of their packets,
got 99 % of what was published, and no video stood still at the end. From a number that is carried
the search goes up by steps until one is not, and then halves the step between the two. Where the
load tester itself was too slow or waited for its core, nothing is said about the router: the
search ends there, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Figures = dict[str, Any]

LOSS_MAX = 0.001
DELIVERED_MIN = 0.99
"""Of the packets that a viewer gets at the number that the search begins with."""
TOOL_CORE_MAX = 0.9
"""Of its core, which the tester may use before it counts as the limit."""
TOOL_WAITED_MAX = 0.15
"""Of the time, which the tester's packets may wait for their core."""
TRIALS_MAX = 6
GRAIN = 50
"""Numbers are multiples of it."""


def shortcoming(row: Figures, wanted_per_viewer: float) -> str | None:
    """Why a number of viewers was not carried; None if it was."""
    if row["joined"] < row["viewers"]:
        return f"{row['viewers'] - row['joined']} did not join"
    if row["loss"] >= LOSS_MAX:
        return f"{row['loss']:.2%} of the packets were lost"
    delivered = row["packets_per_s"] / row["viewers"] / wanted_per_viewer
    if delivered < DELIVERED_MIN:
        return f"viewers got {delivered:.1%} of what was published"
    if row["frozen"]:
        return f"{row['frozen']} videos stood still"
    return None


def tester_limit(row: Figures) -> str | None:
    """Why the tester, not the router, may be what is measured; None if it was not."""
    if max(row["tool_core"], row["tool_media_core"]) > TOOL_CORE_MAX:
        return f"the load tester used {row['tool_core']:.0%} of its core"
    if row["tool_drops"]:
        return f"the load tester was too slow for {row['tool_drops']} datagrams"
    if row["tool_waited"] > TOOL_WAITED_MAX:
        return f"others held the load tester up for {row['tool_waited']:.0%} of the time"
    return None


def search(
    measure: Callable[[int], Figures], first: Figures, tell: Callable[[str], None]
) -> Figures:
    """Look for the most viewers that are carried, from a row that is; what was found."""
    wanted_per_viewer = first["packets_per_s"] / first["viewers"]
    best, fails = first, None
    # What is left of the core, were every viewer as costly as those before.
    guess = first["viewers"] / max(first["core"], 0.05)
    step = max(GRAIN, _grained((guess - first["viewers"]) / 2))
    trials: list[Figures] = []
    limit = "the search ended"
    while len(trials) < TRIALS_MAX:
        viewers = best["viewers"] + step
        row = measure(viewers) | {"viewers": viewers}
        missed = shortcoming(row, wanted_per_viewer)
        tester = tester_limit(row)
        trials.append(row | {"missed": missed, "tester": tester})
        tell(
            f"{viewers} viewers: {missed or 'carried'}, {row['core']:.0%} of a core, p99"
            f" {row['latency_p99_ms']:.1f} ms{f'; {tester}' if tester else ''}"
        )
        if missed is None:
            best = row
        elif tester is not None:
            limit = tester
            break
        else:
            fails, limit = viewers, missed
        if fails is not None:
            step = _grained((fails - best["viewers"]) / 2)
            if step < GRAIN:
                break
    return best | {
        "next_failed": fails,
        "limit": limit,
        "tester_was_limit": fails is None,
        "trials": trials,
    }


def _grained(viewers: float) -> int:
    return int(viewers / GRAIN) * GRAIN


def told(found: Figures) -> str:
    """What was found, in a sentence or two."""
    carried = (
        f"One core carries **{found['viewers']:,} viewers** ({found['packets_per_s']:,.0f} packets"
        f" a second, {found['core']:.0%} of the core, loss {found['loss']:.4%}, p99"
        f" {found['latency_p99_ms']:.1f} ms)"
    )
    if found["next_failed"] is None:
        return f"{carried} at least: {found['limit']}, so the router's own limit is not known."
    return (
        f"{carried}; of {found['next_failed']:,} it did not carry all: {found['limit']}. The load"
        " tester was not the limit: it had time left, dropped nothing and was held up by nobody."
    )
