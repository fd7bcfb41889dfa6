"""SRTP of one transport in both directions, on libsrtp (RFC 3711, RFC 7714)."""

from __future__ import annotations

from pylibsrtp import Error, Policy, Session

from media.certificate import SRTP_PROFILES
from media.dtls import SrtpKeys

REPLAY_WINDOW_PACKETS = 1024


class SrtpSession:
    """Protects what we send and unprotects what we receive; holds keys, so its repr shows none.

    What doesn't authenticate, or came before, is counted in `dropped`.
    """

    def __init__(self, keys: SrtpKeys) -> None:
        profile = SRTP_PROFILES[keys.profile].libsrtp_profile
        self.profile = keys.profile
        self.dropped = 0
        self._outbound = _session(keys.local, profile, Policy.SSRC_ANY_OUTBOUND)
        self._inbound = _session(keys.remote, profile, Policy.SSRC_ANY_INBOUND)

    def protect_rtp(self, packet: bytes) -> bytes:
        """Encrypt an RTP packet."""
        return self._outbound.protect(packet)

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Encrypt a compound RTCP packet."""
        return self._outbound.protect_rtcp(packet)

    def unprotect_rtp(self, packet: bytes) -> bytes | None:
        """Decrypt an RTP packet; None when it is forged or a replay."""
        try:
            return self._inbound.unprotect(packet)
        except Error:
            self.dropped += 1
            return None

    def unprotect_rtcp(self, packet: bytes) -> bytes | None:
        """Decrypt an RTCP packet; None when it is forged or a replay."""
        try:
            return self._inbound.unprotect_rtcp(packet)
        except Error:
            self.dropped += 1
            return None


def _session(key: bytes, profile: int, ssrc_type: int) -> Session:
    policy = Policy(key=key, ssrc_type=ssrc_type, srtp_profile=profile)
    policy.allow_repeat_tx = True
    policy.window_size = REPLAY_WINDOW_PACKETS
    return Session(policy)
