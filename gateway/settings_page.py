"""Writes the table of all settings into docs/settings.md: `python -m gateway.settings_page`."""

from __future__ import annotations

import sys
from pathlib import Path

from gateway.settings import SETTINGS

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
BEGIN = "<!-- settings: written by python -m gateway.settings_page -->"
END = "<!-- end of settings -->"

_TITLES = {
    "network": "Addresses and ports",
    "tls": "TLS",
    "access": "Who may join",
    "storage": "Data",
    "media": "Media plane",
    "measurements": "Telemetry and flight recorder",
    "rooms": "Rooms and peers",
    "limits": "What a socket may ask",
    "log": "Log lines",
}


def settings_table() -> str:
    """The settings as Markdown, a table for each section."""
    parts: list[str] = []
    section = ""
    for setting in SETTINGS:
        if setting.section != section:
            section = setting.section
            parts += ["", f"### {_TITLES[section]}", "", "| setting | default | meaning |"]
            parts.append("| --- | --- | --- |")
        parts.append(f"| `{setting.name}` | {setting.shown} | {setting.about} |")
    return "\n".join(parts)


def main() -> None:
    """Write the page anew."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{settings_table()}\n\n{END}{after}")
    sys.stdout.write(f"{PAGE} has {len(SETTINGS)} settings\n")


if __name__ == "__main__":
    main()
