"""H264's `profile-level-id` (RFC 6184, 8.1): what it says, and which one answers an offer.

Three bytes in hexadecimal: profile_idc, profile-iop (the constraint flags) and level_idc. Several
byte pairs name the same profile (RFC 6184, table 5), so profiles are compared by what they mean.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from protocol.rtp_parameters import ParameterValue

_CONSTRAINT_SET3 = 0x10

_LEVELS = (10, 9, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52, 60, 61, 62)
"""level_idc by ascending demand. 9 is level 1b, which lies between 1 and 1.1."""

_LEVEL_1B = 9


class H264Profile(StrEnum):
    """The profiles that WebRTC endpoints use; values are the canonical first two bytes."""

    CONSTRAINED_BASELINE = "42e0"
    BASELINE = "4200"
    MAIN = "4d00"
    EXTENDED = "5800"
    CONSTRAINED_HIGH = "640c"
    HIGH = "6400"


_FLAGGED_1B = (
    H264Profile.CONSTRAINED_BASELINE,
    H264Profile.BASELINE,
    H264Profile.MAIN,
    H264Profile.EXTENDED,
)
"""Profiles that write level 1b as level 1.1 with constraint_set3_flag."""

_PROFILES: tuple[tuple[int, int, int, H264Profile], ...] = (
    # profile_idc, mask of the flags that count, their values, profile (RFC 6184, table 5)
    (0x42, 0b0100_1111, 0b0100_0000, H264Profile.CONSTRAINED_BASELINE),
    (0x4D, 0b1000_1111, 0b1000_0000, H264Profile.CONSTRAINED_BASELINE),
    (0x58, 0b1100_1111, 0b1100_0000, H264Profile.CONSTRAINED_BASELINE),
    (0x42, 0b0100_1111, 0b0000_0000, H264Profile.BASELINE),
    (0x58, 0b1100_1111, 0b1000_0000, H264Profile.BASELINE),
    (0x4D, 0b1010_1111, 0b0000_0000, H264Profile.MAIN),
    (0x58, 0b1100_1111, 0b0000_0000, H264Profile.EXTENDED),
    (0x64, 0b1111_1111, 0b0000_0000, H264Profile.HIGH),
    (0x64, 0b1111_1111, 0b0000_1100, H264Profile.CONSTRAINED_HIGH),
)


class ProfileLevel(msgspec.Struct, frozen=True):
    """A profile and a level of it. `level` is level_idc, that is ten times the level; 1b is 9."""

    profile: H264Profile
    level: int

    def at_most(self, other: ProfileLevel) -> ProfileLevel:
        """Return this profile at the lower of both levels."""
        return ProfileLevel(self.profile, min(self.level, other.level, key=_LEVELS.index))

    def __str__(self) -> str:
        """Return the canonical `profile-level-id`."""
        if self.level == _LEVEL_1B and self.profile in _FLAGGED_1B:
            return f"{int(self.profile, 16) | _CONSTRAINT_SET3:04x}0b"
        return f"{self.profile}{self.level:02x}"


DEFAULT_PROFILE_LEVEL = ProfileLevel(H264Profile.CONSTRAINED_BASELINE, 31)
"""What browsers mean when they leave `profile-level-id` out (RFC 6184 would say Baseline, 1)."""


def parse_profile_level_id(value: ParameterValue) -> ProfileLevel | None:
    """Return the profile and level, the default for an absent value, None for a malformed one.

    A value of decimal digits alone, such as `640032`, may arrive as an integer, because SDP
    parsers take it for one.
    """
    if value is None or value == "":
        return DEFAULT_PROFILE_LEVEL
    text = f"{value:06d}" if isinstance(value, int) else value
    if not isinstance(text, str) or len(text) != 6:
        return None
    try:
        profile_idc, flags, level = bytes.fromhex(text)
    except ValueError:
        return None
    profile = next(
        (
            profile
            for idc, mask, flag_values, profile in _PROFILES
            if profile_idc == idc and flags & mask == flag_values
        ),
        None,
    )
    if profile is None:
        return None
    if profile in _FLAGGED_1B:
        if level == _LEVEL_1B:
            return None
        if level == 11 and flags & _CONSTRAINT_SET3:
            level = _LEVEL_1B
    return ProfileLevel(profile, level) if level in _LEVELS else None


def answer_profile_level(
    local: ProfileLevel, remote: ProfileLevel, *, level_asymmetry_allowed: bool
) -> ProfileLevel | None:
    """Return what `local` answers to `remote`'s offer; None if their profiles differ.

    With `level_asymmetry_allowed` on both sides each side has its own level, otherwise the lower
    one holds for both (RFC 6184, 8.2.2).
    """
    if local.profile != remote.profile:
        return None
    return local if level_asymmetry_allowed else local.at_most(remote)
