"""Token buckets give what was promised, over any stretch of time."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.rate import TokenBucket


def test_a_burst_then_the_rate():
    bucket = TokenBucket(2, 3, 0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(0.4)
    assert bucket.take(0.5)
    assert not bucket.take(0.5)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_a_debt_tells_how_long_it_lasts():
    bucket = TokenBucket(10, 20, 0.0)
    assert bucket.spend(0.0, 20) == 0
    assert bucket.spend(0.0, 5) == 0.5
    assert bucket.spend(0.5, 0) == 0


def test_a_clock_that_goes_back_gives_nothing():
    bucket = TokenBucket(1, 1, 10.0)
    assert bucket.take(10.0)
    assert not bucket.take(5.0)


@given(
    st.lists(st.floats(0, 3), max_size=200),
    st.floats(0.1, 50),
    st.integers(1, 20),
)
def test_never_more_than_burst_and_rate_allow(gaps, per_second, burst):
    bucket = TokenBucket(per_second, burst, 0.0)
    now_s, taken = 0.0, 0
    for gap in gaps:
        now_s += gap
        taken += bucket.take(now_s)
        assert taken <= burst + now_s * per_second + 1e-6
