#!/usr/bin/env python3
"""Draws a session of the debugger as its terminal shows it: a self-contained SVG, on standard output.

    cargo build --release -p arena
    target/release/arena demo --seconds 4 --bots 12 --kills 2 --dir /tmp/arena
    python3 tests/pictured.py target/release/arena /tmp/arena/server > docs/plots/drawn-debug.svg

The program runs in a pseudo-terminal, and is typed what stands in `TYPED`; what it prints is put onto the screen as a terminal does it.
Whatever the terminal doesn't understand is an error. It is the picture in docs/guide.md.
"""

import os
import re
import sys
import tempfile
from xml.sax.saxutils import escape

from prompt import Terminal

COLUMNS, ROWS = 96, 200
TYPED = [
    "find kind == world and message is Join",
    "why",
    'watch w1/0.1 data.world.players["PlayerId(1)"].standing.score',
    "run",
    "back",
]
PIECE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(\x1b[=>])|([^\x1b])", re.DOTALL)
PROMPT = re.compile(r"^(w\d+:\d+> )(.*)$")
LETTER, LINE, EDGE, BAR = 8.0, 18, 16, 30


class Screen:
    """What a terminal shows: rows of letters, and a cursor."""

    def __init__(self):
        self.rows, self.x, self.y = [[]], 0, 0

    def put(self, letter):
        if self.x == COLUMNS:
            self.x, self.y = 0, self.y + 1
        self.reach()
        row = self.rows[self.y]
        row.extend(" " * (self.x + 1 - len(row)))
        row[self.x] = letter
        self.x += 1

    def reach(self):
        while len(self.rows) <= self.y:
            self.rows.append([])

    def control(self, numbers, what):
        count = int(numbers) if numbers.isdigit() else 1
        if what == "A":
            self.y = max(0, self.y - count)
        elif what == "B":
            self.y += count
        elif what == "C":
            self.x = min(COLUMNS - 1, self.x + count)
        elif what == "D":
            self.x = max(0, self.x - count)
        elif what in "JK":
            self.reach()
            del self.rows[self.y][self.x :]
            if what == "J":
                del self.rows[self.y + 1 :]
        elif what not in "mhl":
            raise SystemExit(f"the terminal doesn't know CSI {numbers}{what}")

    def show(self, text):
        end = 0
        for piece in PIECE.finditer(text):
            if piece.start() != end:
                raise SystemExit(f"the terminal doesn't know {text[end : piece.start()]!r}")
            end = piece.end()
            numbers, what, mode, letter = piece.groups()
            if what:
                self.control(numbers, what)
            elif letter == "\r":
                self.x = 0
            elif letter == "\n":
                self.y += 1
                self.reach()
            elif letter and letter >= " ":
                self.put(letter)

    def lines(self):
        return ["".join(row).rstrip() for row in self.rows]


def recorded(program, directory):
    """The lines that the terminal shows of the session."""
    with tempfile.TemporaryDirectory() as state:
        env = {**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": state, "NO_COLOR": "1"}
        terminal = Terminal([program, "debug", directory], env, (COLUMNS, ROWS))
        try:
            terminal.expect("> ")
            for line in TYPED:
                terminal.type(line + "\n")
                # The echo, then the answer, whose end is the next prompt.
                terminal.expect(line)
                terminal.expect("\nw0:", "\nw1:")
                terminal.expect("> ")
            screen = Screen()
            screen.show(terminal.shown)
            lines = [f"$ arena debug {directory}", *screen.lines()]
            while not lines[-1] or PROMPT.match(lines[-1] + " ") or lines[-1].endswith(">"):
                lines.pop()
            return lines
        finally:
            terminal.close()


def drawn(lines):
    width, height = EDGE * 2 + COLUMNS * LETTER, BAR + EDGE * 2 + len(lines) * LINE
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" viewBox="0 0 {width:.0f} {height}" '
        "font-family=\"'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace\" font-size=\"13\">"
    )
    yield '<rect width="100%" height="100%" rx="8" fill="#1b2130"/>'
    for number, colour in enumerate(["#e06c60", "#e0b860", "#78b868"]):
        yield f'<circle cx="{EDGE + 6 + number * 18}" cy="{BAR / 2 + 3}" r="5.5" fill="{colour}"/>'
    for number, line in enumerate(lines):
        y = BAR + EDGE + number * LINE + 11
        prompt = PROMPT.match(line)
        if prompt:
            parts = [("#7fb2e5", prompt[1]), ("#ffffff", prompt[2])]
        elif line.startswith("$ "):
            parts = [("#8a93a6", "$ "), ("#ffffff", line[2:])]
        else:
            parts = [("#c8cfdc", line)]
        spans = "".join(f'<tspan fill="{colour}">{escape(text)}</tspan>' for colour, text in parts)
        yield f'<text x="{EDGE}" y="{y}" xml:space="preserve">{spans}</text>'
    yield "</svg>"


if __name__ == "__main__":
    print("\n".join(drawn(recorded(sys.argv[1], sys.argv[2]))))
