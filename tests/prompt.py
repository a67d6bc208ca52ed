#!/usr/bin/env python3
"""Drives the debugger's prompt in a pseudo-terminal, as somebody at a keyboard does.

    cargo build --release -p arena
    target/release/arena demo --seconds 10 --bots 64 --dir recorded
    python3 tests/prompt.py target/release/arena recorded/server [--plant no-history|no-interrupt|no-prompt]

Each claim is a function, and waits for what it expects; nothing sleeps to win a race. With `--plant` the program is run in a way that breaks
one of them, which has to be noticed.
"""

import argparse
import fcntl
import hashlib
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

PATIENCE = 30.0
UP, TAB, INTERRUPT, END, CLEAR = "\x1b[A", "\t", "\x03", "\x04", "\x15"
# What a terminal does with its cursor, as against what it shows.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|[\r\x07]")
NEVER = "find data.world.tick > 4000000000 or data.world.tick < 0"


class Failed(Exception):
    """A claim doesn't hold."""


def sure(holds, what):
    if not holds:
        raise Failed(what)


class Terminal:
    """The program in a terminal of that size."""

    def __init__(self, arguments, env, size=(80, 24)):
        self.master, slave = pty.openpty()
        self.resize(size)
        self.shown, self.seen = "", 0
        self.process = subprocess.Popen(
            arguments, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.slave = slave

    def resize(self, size):
        columns, rows = size
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def is_read_raw(self):
        """True while the prompt reads keys, and false while a command runs."""
        return not termios.tcgetattr(self.slave)[3] & termios.ISIG

    def plain(self):
        return CONTROL.sub("", self.shown)

    def read(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return
        try:
            self.shown += os.read(self.master, 1 << 16).decode(errors="replace")
        except OSError:
            # It has ended.
            pass

    def expect(self, *texts):
        """Waits until one of them is shown behind what was expected before, and says which."""
        deadline = time.monotonic() + PATIENCE
        while True:
            plain = self.plain()
            found = [(plain.find(text, self.seen), text) for text in texts]
            found = [(at, text) for at, text in found if at >= 0]
            if found:
                at, text = min(found)
                self.seen = at + len(text)
                return text
            left = deadline - time.monotonic()
            sure(left > 0, f"{texts} was waited for, and it shows {plain[self.seen:]!r}")
            self.read(min(left, 1.0))

    def ask_again(self, line, text):
        """Types a line until it is answered: what is typed together with an interrupt may go with it."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.plain()[self.seen :]:
            sure(time.monotonic() < deadline, f"{line} isn't answered: {self.plain()[self.seen:]!r}")
            self.type(CLEAR + line + "\n")
            answered = time.monotonic() + 0.5
            while text not in self.plain()[self.seen :] and time.monotonic() < answered:
                self.read(0.05)
        self.expect(text)
        self.expect("> ")

    def ended(self):
        """Waits for its end, and gives the status."""
        os.close(self.slave)
        self.slave = None
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            sure(time.monotonic() < deadline, f"it doesn't end: {self.plain()[-500:]!r}")
            self.read(0.05)
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for end in (self.master, self.slave):
            if end is not None:
                os.close(end)


class Prompt:
    """How the program is run."""

    def __init__(self, program, directory, state, plant):
        self.program, self.directory, self.state, self.plant = program, directory, state, plant
        self.env = {**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": state}
        self.env.pop("NO_COLOR", None)
        self.arguments = [program, "debug", directory]

    def open(self, more=(), size=(80, 24), env=None):
        planted = ["--no-history"] if self.plant == "no-history" and "--history" not in more else []
        return Terminal([*self.arguments, *planted, *more], env or self.env, size)

    def history(self):
        return os.path.join(self.state, "qnfsm", "debug-history")


def tab_completes_commands_kinds_and_fields(prompt):
    terminal = prompt.open()
    try:
        terminal.expect("`help` lists the commands")
        terminal.expect("w0:1> ")
        terminal.type("fin" + TAB)
        terminal.expect("find")
        terminal.type(" kind == wor" + TAB)
        terminal.expect("world")
        terminal.type(" and data.world.ti" + TAB)
        terminal.expect("data.world.tick")
        terminal.type(" > 5\n")
        # It was the whole words, or this would be an error.
        terminal.expect("world: handle WorldMessage Tick of a timer")
        terminal.expect("> ")
        # Of several it lists all.
        terminal.type("st" + TAB + TAB)
        for word in ("start", "state", "step"):
            terminal.expect(word)
        terminal.type(CLEAR + "quit\n")
        sure(terminal.ended() == 0, "`quit` ends with 0")
    finally:
        terminal.close()


def what_was_typed_comes_again_in_this_run_and_the_next(prompt):
    for run in range(2):
        terminal = prompt.open()
        try:
            terminal.expect("w0:1> ")
            if run == 0:
                terminal.type("goto 7\n")
                terminal.expect("ordinal 7 of")
                terminal.expect("> ")
                terminal.type("where\n")
                terminal.expect("ordinal 7 of")
                terminal.expect("> ")
            terminal.type(UP + UP)
            # The line comes with its newline: the prompt shows it first.
            terminal.expect("goto 7")
            terminal.type("\n")
            terminal.expect("ordinal 7 of")
            terminal.expect("> ")
            terminal.type("where\n")
            terminal.expect("ordinal 7 of")
            terminal.expect("> ")
            terminal.type(END)
            sure(terminal.ended() == 0, "an end of input ends with 0")
        finally:
            terminal.close()
    mode = os.stat(prompt.history()).st_mode & 0o777
    sure(mode == 0o600, f"others may read what was typed: {mode:o}")


def history_lies_where_it_is_said_and_not_in_the_node_s_directory(prompt):
    with tempfile.TemporaryDirectory() as beside:
        mine = os.path.join(beside, "mine")
        of = {
            "--history": ({**prompt.env}, ["--history", mine], mine),
            "HOME": (
                {**{name: value for name, value in prompt.env.items() if name != "XDG_STATE_HOME"}, "HOME": beside},
                [],
                os.path.join(beside, ".local", "state", "qnfsm", "debug-history"),
            ),
            "a directory of none": ({**prompt.env, "XDG_STATE_HOME": prompt.directory}, [], None),
            "--no-history": ({**prompt.env, "XDG_STATE_HOME": beside}, ["--no-history"], None),
        }
        for name, (env, more, file) in of.items():
            before = sorted(os.listdir(beside))
            terminal = prompt.open(more, env=env)
            try:
                terminal.expect("w0:1> ")
                terminal.type("kinds\n")
                terminal.expect("world takes WorldMessage")
                terminal.expect("> ")
                terminal.type(END)
                sure(terminal.ended() == 0, name)
            finally:
                terminal.close()
            if file:
                with open(file, encoding="utf-8") as kept:
                    sure("kinds" in kept.read().splitlines(), f"{name}: it is kept in {file}")
            else:
                sure(before == sorted(os.listdir(beside)), f"{name}: something was kept")
        inside = os.path.join(prompt.directory, "history")
        refused = subprocess.run(
            [*prompt.arguments, "--history", inside], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        sure(refused.returncode == 2 and "give another file" in refused.stderr, f"{refused}")
        # A file that can't be made costs the history, and not the session.
        terminal = prompt.open(["--history", os.path.join(mine, "below")])
        try:
            terminal.expect("note: what is typed is not kept")
            terminal.expect("w0:1> ")
            terminal.type("where\n")
            terminal.expect("ordinal 0 of")
            terminal.expect("> ")
            terminal.type(END)
            sure(terminal.ended() == 0, "it goes on")
        finally:
            terminal.close()


def ctrl_c_stops_a_search_and_keeps_the_session(prompt):
    for _ in range(20):
        terminal = prompt.open()
        try:
            terminal.expect("w0:1> ")
            terminal.type("goto 3\n")
            terminal.expect("ordinal 3 of")
            terminal.expect("> ")
            terminal.type(NEVER + "\n")
            terminal.expect("< 0")
            # From then on a key is a signal.
            deadline = time.monotonic() + PATIENCE
            while terminal.is_read_raw() and time.monotonic() < deadline:
                terminal.read(0.0)
            if prompt.plant != "no-interrupt":
                while not terminal.is_read_raw() and "holds for no step" not in terminal.plain():
                    terminal.type(INTERRUPT)
                    terminal.read(0.005)
            end = terminal.expect("interrupted; this is still the step of before", "it holds for no step")
            terminal.expect("> ")
            terminal.ask_again("where", "ordinal 3 of")
            # At the prompt it gives up the line, and nothing else.
            terminal.type("nonsense")
            terminal.expect("nonsense")
            terminal.type(INTERRUPT)
            terminal.expect("> ")
            terminal.ask_again("where", "ordinal 3 of")
            terminal.type(END)
            sure(terminal.ended() == 0, "it goes on until its end")
            if end.startswith("interrupted"):
                return
        finally:
            terminal.close()
    raise Failed("no search was interrupted, they all came to their end")


def a_terminal_of_any_size_is_enough(prompt):
    for size in ((10, 2), (1, 1), (2, 1), (0, 0), (500, 200)):
        terminal = prompt.open(size=size)
        try:
            terminal.expect("> ")
            terminal.type("st" + TAB + TAB)
            # Where a list is longer than the screen it asks whether to go on.
            if terminal.expect("--More--", "step") == "--More--":
                terminal.type("q")
            terminal.type(CLEAR + "where\n")
            terminal.expect("ordinal 0 of")
            terminal.expect("> ")
            terminal.type(CLEAR + END)
            sure(terminal.ended() == 0, f"{size}: {terminal.plain()[-300:]!r}")
        except Failed as failed:
            raise Failed(f"{size}: {failed}") from failed
        finally:
            terminal.close()


def a_terminal_that_changes_its_size_keeps_the_line(prompt):
    terminal = prompt.open()
    try:
        terminal.expect("w0:1> ")
        terminal.type("goto ")
        terminal.expect("goto ")
        for size in ((20, 5), (3, 1), (132, 43), (0, 0), (80, 24)):
            terminal.resize(size)
            os.kill(terminal.process.pid, signal.SIGWINCH)
            terminal.read(0.02)
        terminal.type("5\n")
        terminal.expect("ordinal 5 of")
        terminal.expect("> ")
        terminal.type(END)
        sure(terminal.ended() == 0, "it goes on until its end")
    finally:
        terminal.close()


def a_terminal_that_is_gone_ends_it(prompt):
    terminal = prompt.open()
    terminal.expect("w0:1> ")
    os.close(terminal.slave)
    os.close(terminal.master)
    try:
        terminal.process.wait(PATIENCE)
    except subprocess.TimeoutExpired as expired:
        terminal.process.kill()
        raise Failed("it runs on without its terminal") from expired


def without_a_terminal_there_is_no_prompt_and_no_colour(prompt):
    script = "step\nwhere\nfind kind == world\n"
    piped = subprocess.run(prompt.arguments, input=script, capture_output=True, text=True, env=prompt.env, check=False)
    sure(piped.returncode == 0 and not piped.stderr, f"{piped}")
    sure("\x1b" not in piped.stdout and "w0:1>" not in piped.stdout and "`help`" not in piped.stdout, f"{piped.stdout!r}")
    # A keyboard alone is not enough: what is shown goes to who knows no keys.
    if prompt.plant == "no-prompt":
        terminal = prompt.open()
        terminal.expect("w0:1> ")
        shown = terminal.shown
        terminal.close()
    else:
        master, slave = pty.openpty()
        with subprocess.Popen(prompt.arguments, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=prompt.env) as half:
            os.write(master, b"where\nquit\n")
            shown, errors = (end.decode() for end in half.communicate(timeout=PATIENCE))
        os.close(master)
        os.close(slave)
        sure(half.returncode == 0 and not errors, f"{half.returncode} {errors}")
    sure("ordinal 0 of" in shown and "\x1b" not in shown and "> " not in shown, f"{shown!r}")


def a_reader_that_has_had_enough_ends_it_in_silence(prompt):
    commands = [each for _ in range(2000) for each in ("--command", "kinds")]
    with subprocess.Popen([*prompt.arguments, *commands], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        first = process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(PATIENCE)
    sure(first and process.returncode == 0 and not errors, f"{process.returncode} {errors!r}")


CLAIMS = [
    tab_completes_commands_kinds_and_fields,
    what_was_typed_comes_again_in_this_run_and_the_next,
    history_lies_where_it_is_said_and_not_in_the_node_s_directory,
    ctrl_c_stops_a_search_and_keeps_the_session,
    a_terminal_of_any_size_is_enough,
    a_terminal_that_changes_its_size_keeps_the_line,
    a_terminal_that_is_gone_ends_it,
    without_a_terminal_there_is_no_prompt_and_no_colour,
    a_reader_that_has_had_enough_ends_it_in_silence,
]


def tree(directory):
    """All that lies below a directory."""
    digest = hashlib.sha256()
    for where, directories, files in sorted(os.walk(directory)):
        digest.update(f"{where} {sorted(directories)}".encode())
        for name in sorted(files):
            with open(os.path.join(where, name), "rb") as file:
                digest.update(name.encode() + file.read())
    return digest.hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("directory")
    parser.add_argument("--plant", choices=["no-history", "no-interrupt", "no-prompt"])
    arguments = parser.parse_args()
    if arguments.plant:
        # What doesn't come is not waited for as long.
        globals()["PATIENCE"] = 5.0
    before = tree(arguments.directory)
    for claim in CLAIMS:
        with tempfile.TemporaryDirectory() as state:
            begun = time.monotonic()
            try:
                claim(Prompt(arguments.program, arguments.directory, state, arguments.plant))
                sure(tree(arguments.directory) == before, "the node's directory was changed")
            except Failed as failed:
                sys.exit(f"prompt: {claim.__name__}: {failed}")
            print(f"prompt: {claim.__name__.replace('_', ' ')} ({time.monotonic() - begun:.1f} s)")


if __name__ == "__main__":
    main()
