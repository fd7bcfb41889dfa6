"""Encoded frames that load publishers send by turns, made once by real encoders.

A still picture costs an encoder next to nothing, so each frame is small, and
the native core pads it to the wanted size in a way that decoders skip. The
first frame of a video is a keyframe, and the only one.
"""

from __future__ import annotations

import functools
import math
from array import array
from fractions import Fraction

import av
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext

from load.media import CodecName

GROUP_FRAMES = 300
"""Frames from one keyframe to the next: ten seconds at 30 a second."""
VP8_FRAMES = 8
"""Frames of VP8 that are encoded; the last one says "no change", as often as it is sent."""
OPUS_PACKETS = 50
OPUS_BITRATE_BPS = 32_000
_SAMPLES = 960
_ENCODERS: dict[CodecName, tuple[str, dict[str, str]]] = {
    "video/VP8": ("libvpx", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    "video/H264": (
        "libx264",
        {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "x264-params": "scenecut=0:repeat-headers=1:annexb=1:threads=1",
        },
    ),
}


@functools.lru_cache(maxsize=8)
def units_of(codec: CodecName, width: int = 640, height: int = 360) -> tuple[bytes, ...]:
    """Encode what a publisher of `codec` sends; opus has no size."""
    if codec == "audio/opus":
        return _tone()
    frames = VP8_FRAMES if codec == "video/VP8" else GROUP_FRAMES
    units = _still_picture(codec, width, height, frames)
    return units + (GROUP_FRAMES - len(units)) * units[-1:]


def _still_picture(codec: CodecName, width: int, height: int, frames: int) -> tuple[bytes, ...]:
    name, options = _ENCODERS[codec]
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height = width, height
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = Fraction(30)
    encoder.time_base = Fraction(1, 30)
    encoder.bit_rate = 1_000_000
    encoder.gop_size = GROUP_FRAMES + 1
    encoder.options = options
    picture = av.VideoFrame(width, height, "yuv420p")
    for plane in picture.planes:
        plane.update(b"\x80" * (plane.line_size * plane.height))
    units = []
    for index in range(frames):
        picture.pts = index
        picture.time_base = encoder.time_base
        units += [bytes(packet) for packet in encoder.encode(picture)]
    return (*units, *(bytes(packet) for packet in encoder.encode(None)))


def _tone() -> tuple[bytes, ...]:
    """440 Hz, 20 ms a packet."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate = 48_000
    encoder.layout = "stereo"
    encoder.format = "s16"
    encoder.bit_rate = OPUS_BITRATE_BPS
    encoder.options = {"application": "voip", "frame_duration": "20"}
    units = []
    for index in range(OPUS_PACKETS):
        wave = (
            int(8_000 * math.sin(2 * math.pi * 440 * n / 48_000))
            for n in range(index * _SAMPLES, (index + 1) * _SAMPLES)
        )
        frame = av.AudioFrame(format="s16", layout="stereo", samples=_SAMPLES)
        frame.planes[0].update(
            array("h", (value for one in wave for value in (one, one))).tobytes()
        )
        frame.sample_rate, frame.pts = 48_000, index * _SAMPLES
        frame.time_base = Fraction(1, 48_000)
        units += [bytes(packet) for packet in encoder.encode(frame)]
    return tuple(units)
