"""A camera for Chromium whose picture needs the bits that a real one does: Chromium's own fake one
is so plain that its 720 lines fit into 400 kbit/s. Its pictures may bear their numbers, so that a
test sees which one a page shows.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

WIDTH, HEIGHT, FPS = 1280, 720, 15
FRAMES = 30
GRAINY_LINES = 80
CLOCK_BITS, CLOCK_LINES = 8, 96
"""The number of a picture stands above it, in black and white fields: the lowest bit first."""
CLOCK_SPAN = 1 << (CLOCK_BITS - 1)
"""Numbers are below this: the last bit says whether those that are white are odd in number."""
_BLACK, _WHITE = b"\x10", b"\xeb"
_GREYS = bytes(64 + 8 * (value >> 4) for value in range(256))


def _clock(number: int) -> bytes:
    """The lines with the number of a picture."""
    bits = number | (number.bit_count() % 2) << (CLOCK_BITS - 1)
    width = WIDTH // CLOCK_BITS
    fields = ((_WHITE if bits >> place & 1 else _BLACK) * width for place in range(CLOCK_BITS))
    return b"".join(fields) * CLOCK_LINES


def grainy_film(path: Path, seed: int = 1, *, has_clock: bool = False) -> Path:
    """Write a film in which a ninth of the lines is new grain in each frame; some 40 MB.

    With a clock it is `CLOCK_SPAN` pictures long, of 1.4 MB each. For
    `--use-file-for-fake-video-capture`, which shows it again and again.
    """
    random = Random(seed)
    grain = random.randbytes(WIDTH * 64).translate(_GREYS)
    plain = bytes(48 + column * 128 // WIDTH for column in range(WIDTH)) * (HEIGHT - GRAINY_LINES)
    chroma = bytes([128]) * (WIDTH * HEIGHT // 2)
    with path.open("wb") as film:
        film.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for number in range(CLOCK_SPAN if has_clock else FRAMES):
            clock = _clock(number) if has_clock else b""
            begins = (random.randrange(len(grain) - WIDTH) for _ in range(GRAINY_LINES))
            film.write(b"FRAME\n" + clock + plain[len(clock) :])
            film.writelines(grain[begin : begin + WIDTH] for begin in begins)
            film.write(chroma)
    return path
