"""Draws docs/demo.svg: what ``ai-gateway demo`` shows in a terminal. Run it after a change of the demo."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLUMNS, LINE, CHARACTER = 112, 19, 8.4
_COLOURS = {"31": "#f2766d", "32": "#5cc58a", "33": "#e6b45c", "36": "#5ab9e6", "2": "#8b98a3", "35": "#c58be0"}
_ANSI = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def main() -> None:
    """Runs the demo in a directory of its own and writes the picture."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **os.environ,
            "GATEWAY_DATA_DIR": folder,
            "COLUMNS": str(COLUMNS),
            "FORCE_COLOR": "1",
            "TERM": "xterm",
        }
        command = [sys.executable, "-m", "gateway.cli.main", "demo"]
        subprocess.run(command, env=environ, check=True, capture_output=True)  # noqa: S603 - ours; the first run trains
        done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)  # noqa: S603 - ours
        text = done.stdout.replace(folder, ".gateway")
    (ROOT / "docs" / "demo.svg").write_text(picture(_last_frame(text)), encoding="utf-8")


def picture(text: str) -> str:
    """The lines with their colours as an SVG."""
    lines = text.rstrip().split("\n")
    height = LINE * len(lines) + 40
    rows = "".join(
        f'<text x="20" y="{30 + LINE * at}" xml:space="preserve">{_spans(line)}</text>' for at, line in enumerate(lines)
    )
    width = int(COLUMNS * CHARACTER) + 40
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="ai-gateway demo in a terminal"><style>text{font:14px ui-monospace,Menlo,Consolas,monospace;'
        f'fill:#e6eaed}}.b{{font-weight:700}}</style><rect width="100%" height="100%" rx="10" fill="#14181b"/>'
        f"{rows}</svg>\n"
    )


def _spans(line: str) -> str:
    parts, colour, bold, place = [], "", False, 0
    for match in [*_ANSI.finditer(line), None]:
        end = match.start() if match else len(line)
        if end > place:
            fill = f' fill="{colour}"' if colour else ""
            weight = ' class="b"' if bold else ""
            parts.append(f"<tspan{fill}{weight}>{escape(line[place:end])}</tspan>")
        if match is None:
            break
        place = match.end()
        for code in match.group(1).split(";"):
            if code in ("", "0"):
                colour, bold = "", False
            elif code == "1":
                bold = True
            elif code in _COLOURS:
                colour = _COLOURS[code]
    return "".join(parts)


def _last_frame(text: str) -> str:
    """The output without the frames that a live display drew over."""
    kept: list[str] = []
    for line in text.replace("\r", "").split("\n"):
        moves = [match for match in _ANSI.finditer(line) if match.group(2) in "AK"]
        ups = sum(1 for match in moves if match.group(2) == "A")
        if ups:
            del kept[len(kept) - ups :]
        shown = line[moves[-1].end() :] if moves else line
        kept.append(_ANSI.sub(lambda match: match.group(0) if match.group(2) == "m" else "", shown))
    passing = ("   running   ", "(first start only)")  # frames that a terminal would have drawn over
    return "\n".join(line for line in kept if not any(word in line for word in passing))


if __name__ == "__main__":
    main()
