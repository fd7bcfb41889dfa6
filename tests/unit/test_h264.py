"""profile-level-id: parsing and answering, also against an implementation that is not ours."""

import h264_profile_level_id as reference
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.negotiation.h264 import (
    DEFAULT_PROFILE_LEVEL,
    H264Profile,
    ProfileLevel,
    answer_profile_level,
    parse_profile_level_id,
)

CB, BASELINE, MAIN = H264Profile.CONSTRAINED_BASELINE, H264Profile.BASELINE, H264Profile.MAIN
HIGH, CONSTRAINED_HIGH = H264Profile.HIGH, H264Profile.CONSTRAINED_HIGH

REFERENCE_PROFILES = {
    reference.ProfileConstrainedBaseline: CB,
    reference.ProfileBaseline: BASELINE,
    reference.ProfileMain: MAIN,
    reference.ProfileConstrainedHigh: CONSTRAINED_HIGH,
    reference.ProfileHigh: HIGH,
}

LEVELS = (10, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52)
# The reference misorders level 1b, so it is left out where levels are compared.
profile_levels = st.builds(
    ProfileLevel, st.sampled_from([CB, BASELINE, MAIN, HIGH]), st.sampled_from(LEVELS)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42e01f", ProfileLevel(CB, 31)),
        ("42E01F", ProfileLevel(CB, 31)),
        ("42001f", ProfileLevel(BASELINE, 31)),
        ("4d0032", ProfileLevel(MAIN, 50)),
        ("4d801f", ProfileLevel(CB, 31)),
        ("58c01f", ProfileLevel(CB, 31)),
        ("58801f", ProfileLevel(BASELINE, 31)),
        ("58001f", ProfileLevel(H264Profile.EXTENDED, 31)),
        ("640032", ProfileLevel(HIGH, 50)),
        (640032, ProfileLevel(HIGH, 50)),
        ("640c1f", ProfileLevel(CONSTRAINED_HIGH, 31)),
        ("42f00b", ProfileLevel(CB, 9)),
        ("42e00b", ProfileLevel(CB, 11)),
        ("640009", ProfileLevel(HIGH, 9)),
        (None, DEFAULT_PROFILE_LEVEL),
        ("", DEFAULT_PROFILE_LEVEL),
    ],
)
def test_profile_and_level_are_read_from_the_three_bytes(
    text: str | int | None, expected: ProfileLevel
) -> None:
    assert parse_profile_level_id(text) == expected


@pytest.mark.parametrize(
    "text",
    ["42e0", "42e01f00", "42e0zz", "42 e01", "420009", "42e0ff", "42ef1f", "64ff1f", "٤2e01f"],
)
def test_a_malformed_or_unknown_id_is_none(text: str) -> None:
    assert parse_profile_level_id(text) is None


@pytest.mark.parametrize("number", [-1, 0, 1, 42, 6400320, 640032.0])
def test_numbers_that_no_id_looks_like_are_none(number: float) -> None:
    assert parse_profile_level_id(number) is None


@given(st.sampled_from([0x42, 0x4D, 0x58, 0x64, 0x6E]), st.integers(0, 255), st.integers(0, 255))
@example(0x42, 0xF0, 11)
@example(0x58, 0x10, 11)
def test_ids_mean_what_the_reference_reads(profile_idc: int, flags: int, level: int) -> None:
    text = bytes((profile_idc, flags, level)).hex()
    ours, theirs = parse_profile_level_id(text), reference.parseProfileLevelId(text)
    if theirs is not None:
        assert ours is not None
        assert ours.profile == REFERENCE_PROFILES[theirs.profile]
        assert ours.level == (theirs.level or 9)
    elif ours is not None:  # what we know beyond it
        assert ours.profile == H264Profile.EXTENDED or ours.level in {9, 60, 61, 62}


@given(profile_levels, profile_levels, st.booleans())
def test_answers_are_those_of_the_reference(
    local: ProfileLevel, remote: ProfileLevel, asymmetric: bool
) -> None:
    sides = [
        {"profile-level-id": str(side), "level-asymmetry-allowed": int(asymmetric)}
        for side in (local, remote)
    ]
    answer = answer_profile_level(local, remote, level_asymmetry_allowed=asymmetric)
    if answer is None:
        with pytest.raises(TypeError):
            reference.generateProfileLevelIdForAnswer(*sides)
    else:
        assert str(answer) == reference.generateProfileLevelIdForAnswer(*sides)


@given(st.builds(ProfileLevel, st.sampled_from(H264Profile), st.sampled_from((9, *LEVELS))))
def test_writing_and_reading_an_id_gives_the_same(profile_level: ProfileLevel) -> None:
    assert parse_profile_level_id(str(profile_level)) == profile_level


@pytest.mark.parametrize(
    ("local", "remote", "lower"),
    [("42e01f", "42e034", "42e01f"), ("42e034", "42e01f", "42e01f"), ("42e00b", "42f00b", "42f00b"),
     ("42e00a", "42f00b", "42e00a")],
)  # fmt: skip
def test_without_asymmetry_the_lower_level_holds(local: str, remote: str, lower: str) -> None:
    sides = parse_profile_level_id(local), parse_profile_level_id(remote)
    assert sides[0] is not None
    assert sides[1] is not None
    answer = answer_profile_level(*sides, level_asymmetry_allowed=False)
    assert str(answer) == lower


def test_with_asymmetry_the_local_level_holds() -> None:
    local, remote = ProfileLevel(CB, 52), ProfileLevel(CB, 31)
    assert answer_profile_level(local, remote, level_asymmetry_allowed=True) == local


def test_different_profiles_have_no_answer() -> None:
    assert (
        answer_profile_level(
            ProfileLevel(CB, 31), ProfileLevel(BASELINE, 31), level_asymmetry_allowed=True
        )
        is None
    )
