#!/usr/bin/env python3
"""Kills a server again and again under load, and checks after each restart that it holds what it had told.

    cargo build --release -p qnfsm-tests --bin ledger
    python3 tests/kills.py target/release/ledger [--kills 1000] [--durability buffered|durable] [--seed N] [--plant backup]

The client keeps for itself what was acknowledged, and shares no code with the server: what they say to each other is spelt out
below. Its times are drawn from the seed; what the server had come to when it was killed is not. With `--plant backup` a restart
finds an older copy of the directory, which has to be noticed.
"""

import argparse
import os
import random
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

CLIENTS = 4
WINDOW = 32
PATIENCE = 30.0
FNV_BASIS, FNV_PRIME, MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


def number(value):
    """An unsigned number in the server's spelling: one byte up to 250, else a mark and 2, 4 or 8 bytes."""
    if value <= 250:
        return bytes([value])
    for mark, size in ((251, 2), (252, 4), (253, 8)):
        if value < 1 << (8 * size):
            return bytes([mark]) + value.to_bytes(size, "little")
    raise ValueError(value)


def take_number(data, at):
    mark = data[at]
    if mark <= 250:
        return mark, at + 1
    size = {251: 2, 252: 4, 253: 8}[mark]
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


def frame(payload):
    return len(payload).to_bytes(4, "little") + payload


class Failed(Exception):
    """The server has lost, doubled or mixed up something."""


class Client:
    """One client: what it has sent, what was acknowledged, and the hash of that."""

    def __init__(self, name):
        self.name = name
        self.acknowledged, self.hash = 0, FNV_BASIS
        self.sent = 0
        self.connect(None)

    def connect(self, connection):
        self.connection, self.received, self.hello, self.asked = connection, b"", False, False
        if connection:
            self.say(b"QNFS\x01\x00\x00\x00" + frame(number(0) + number(self.name)))

    def say(self, data):
        try:
            self.connection.sendall(data)
        except OSError:
            # It was killed: what counts is what was heard.
            pass

    def value(self, count):
        return (self.name * 1_000_003 + count * 7919) & MASK

    def after(self, count):
        """The hash of everything up to that count, which is not before what was acknowledged."""
        value = self.hash
        for each in range(self.acknowledged + 1, count + 1):
            value = ((value ^ self.value(each)) * FNV_PRIME) & MASK
        return value

    def put(self):
        data = b""
        while self.asked and self.sent - self.acknowledged < WINDOW:
            self.sent += 1
            data += frame(number(1) + number(self.name) + number(self.value(self.sent)))
        if data:
            self.say(data)

    def hear(self, data):
        self.received += data
        if not self.hello:
            if len(self.received) < 8:
                return
            if self.received[:6] != b"QNFS\x01\x00":
                raise Failed(f"client {self.name} was greeted with {self.received[:8]!r}")
            self.hello, self.received = True, self.received[8:]
        while len(self.received) >= 4:
            length = int.from_bytes(self.received[:4], "little")
            if len(self.received) < 4 + length:
                return
            payload, self.received = self.received[4 : 4 + length], self.received[4 + length :]
            count, at = take_number(payload, 0)
            digest, _ = take_number(payload, at)
            self.check(count, digest)

    def check(self, count, digest):
        if not self.acknowledged <= count <= self.sent:
            raise Failed(
                f"client {self.name} was told of {self.acknowledged} numbers and has sent {self.sent}, and {count} are there"
            )
        if digest != self.after(count):
            raise Failed(f"client {self.name}: the first {count} numbers that are there are not those that it has sent")
        if self.asked and count != self.acknowledged + 1:
            raise Failed(f"client {self.name}: an answer of {count} came after that of {self.acknowledged}")
        self.hash, self.acknowledged = digest, count
        if not self.asked:
            # What was under way at the kill and didn't come in is sent anew.
            self.asked, self.sent = True, count


class Server:
    def __init__(self, arguments, directory):
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [arguments.server, "serve", directory, arguments.durability],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ, None)
        self.clients = []
        self.back_after = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Whatever went wrong, no server stays."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.close()

    def run(self, clients, until, want):
        """Runs the load until that time; gives True once `want` says that it was long enough."""
        while time.monotonic() < until and not want():
            if self.process.poll() is not None:
                raise Failed(f"the server ended by itself: {self.process.stderr.read().decode()}")
            for key, _ in self.selector.select(min(0.05, max(0, until - time.monotonic()))):
                if key.data is None:
                    self.listening(clients)
                else:
                    self.hear(key.data)
        return want()

    def listening(self, clients):
        self.selector.unregister(self.process.stdout)
        line = self.process.stdout.readline().decode().strip()
        if not line:
            return
        self.back_after = time.monotonic() - self.begun
        host, port = line.rsplit(":", 1)
        for client in clients:
            connection = socket.create_connection((host, int(port)))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.clients.append(client)
            client.connect(connection)
            self.selector.register(connection, selectors.EVENT_READ, client)

    def hear(self, client):
        try:
            data = client.connection.recv(1 << 16)
        except OSError:
            data = b""
        if data:
            client.hear(data)
            client.put()
        else:
            self.selector.unregister(client.connection)

    def kill(self):
        """Ends the process; what it had said before that counts."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for client in self.clients:
            try:
                while data := client.connection.recv(1 << 16):
                    client.hear(data)
            except OSError:
                pass

    def close(self):
        for client in self.clients:
            client.connection.close()
        self.selector.close()
        self.process.stdout.close()
        self.process.stderr.close()


def soak(arguments, directory):
    draw = random.Random(arguments.seed)
    clients = [Client(name) for name in range(CLIENTS)]
    backup, checked, slowest = directory + ".backup", 0, 0.0
    for kill in range(1, arguments.kills + 1):
        with Server(arguments, directory) as server:
            # Now and then while it comes back, and mostly under load.
            load_for = draw.uniform(0, 0.15)
            if draw.random() < 0.2:
                server.run(clients, server.begun + load_for, lambda: False)
            else:
                if not server.run(clients, server.begun + PATIENCE, lambda: all(client.asked for client in clients)):
                    raise Failed(f"the server doesn't answer within {PATIENCE} s")
                server.run(clients, time.monotonic() + load_for, lambda: False)
            checked += all(client.asked for client in clients)
            slowest = max(slowest, server.back_after or 0)
            server.kill()
        for client in clients:
            client.asked = False
        if arguments.plant == "backup" and kill in (3, 8):
            if kill == 3:
                shutil.copytree(directory, backup)
            else:
                shutil.rmtree(directory)
                shutil.move(backup, directory)
        if kill % 10 == 0 and sys.stderr.isatty() or kill % 100 == 0:
            acknowledged = sum(client.acknowledged for client in clients)
            print(f"{kill} kills, {acknowledged} numbers acknowledged", end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr)
    with Server(arguments, directory) as server:
        if not server.run(clients, server.begun + PATIENCE, lambda: all(client.asked for client in clients)):
            raise Failed("the server doesn't come back at the end")
        server.process.send_signal(signal.SIGTERM)
        status = server.process.wait(PATIENCE)
    if status != 0:
        raise Failed(f"the server's last stop has status {status}")
    replay = subprocess.run([arguments.server, "replay", directory], capture_output=True, text=True)
    print(replay.stdout.strip())
    if replay.returncode != 0:
        raise Failed(f"the replay has status {replay.returncode}: {replay.stderr}")
    verified = subprocess.run([arguments.server, "verify", directory], capture_output=True, text=True)
    if verified.returncode != 0:
        raise Failed(f"the directory is not sound: {verified.stdout} {verified.stderr}")
    acknowledged = sum(client.acknowledged for client in clients)
    print(
        f"{arguments.durability}: {arguments.kills} kills, after {checked} of which all {CLIENTS} clients had asked what was there; "
        f"{acknowledged} numbers acknowledged, none lost, none twice; back after {slowest:.2f} s at most"
    )
    if acknowledged < arguments.kills or checked < arguments.kills / 2:
        raise Failed("that was too little to tell anything")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--durability", choices=["buffered", "durable"], default="buffered")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--plant", choices=["backup"])
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = random.randrange(1 << 32)
    work, keeps = tempfile.mkdtemp(prefix="kills-"), False
    try:
        soak(arguments, os.path.join(work, "node"))
    except Failed as failed:
        print(f"kills: {failed}", file=sys.stderr)
        if arguments.plant:
            return 1
        keeps = True
        print(
            f"kills: the directory is in {work}; to try again: python3 tests/kills.py {arguments.server} "
            f"--kills {arguments.kills} --durability {arguments.durability} --seed {arguments.seed}",
            file=sys.stderr,
        )
        return 1
    finally:
        if not keeps:
            shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
