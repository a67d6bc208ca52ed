#!/usr/bin/env python3
"""`python3 tests/journal.py <node>` reads and checks a node's directory as docs/JOURNAL_FORMAT.md says, and prints what is there."""

import sys
from pathlib import Path
from zlib import crc32

KINDS = dict(enumerate(
    "worker_started worker_stopped round external digest_mark deliveries snapshot_mark configured sync_mark clean_stop "
    "skipped attempt worker_kept version snapshot_begun".split(), 1))
CLASSES = ["message", "reply", "failed", "spawn", "stop", "watch", "unwatch", "down", "refused", "spawned"]
BLOCK_MAX = RECORD_MAX = 64 << 20
SYNC_WORD = b"\xf5\x51\x6e\xa7"


class Bad(Exception):
    """What the page calls an error."""


class Taker:
    """Takes fields from the front of some bytes."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, count):
        if self.at + count > len(self.data):
            raise Bad("cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def fixed(self, size):
        return int.from_bytes(self.bytes(size), "little")

    def varint(self, bits=64):
        value = shift = 0
        while True:
            byte = self.fixed(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> bits or (byte == 0 and shift):
                    raise Bad("a number out of its range, or not in its shortest spelling")
                return value
            shift += 7

    def varints(self, count, bits=32):
        return [self.varint(bits) for _ in range(count)]

    def counted(self):
        return self.bytes(self.varint())

    def flag(self):
        if self.data[self.at : self.at + 1] not in (b"\0", b"\1"):
            raise Bad("a flag that is neither 0 nor 1")
        return self.fixed(1)

    def worker(self):
        return f"w{self.varint(31)}"

    def end(self):
        if self.at != len(self.data):
            raise Bad("bytes are left over")


def block(data, magic):
    """The body, the checksum that begins the chain, and what follows."""
    prefix = Taker(data[:24])
    if prefix.bytes(8) != magic:
        raise Bad("another kind of file")
    version, length, body_sum, prefix_sum = [prefix.fixed(4) for _ in range(4)]
    if crc32(data[:20]) != prefix_sum or version != 1 or length > BLOCK_MAX:
        raise Bad(f"a prefix with a wrong checksum, of version {version}, or of a body of {length} bytes")
    body = data[24 : 24 + length]
    if len(body) != length or crc32(body) != body_sum:
        raise Bad("the body's checksum")
    return body, prefix_sum, 24 + length


def request(taker):
    return "/".join(map(str, taker.varints(4) + [taker.varint()])) if taker.flag() else "-"


def delivery(taker):
    return "/".join(map(str, taker.varints(3) + [taker.varint()]))


def show(data):
    return f"{len(data)}:{crc32(data):08x}"


def frames(taker, count):
    header = None
    for _ in range(count):
        flags, length = taker.fixed(1), taker.varint()
        if flags != 0x40:
            if flags & 0xC0 or flags & 0x0F >= len(CLASSES):
                raise Bad("unknown flags")
            numbers = taker.varints(7)
            asked = taker.varint() if flags & 0x10 else "-"
            name = CLASSES[flags & 0x0F] + ("!" if flags & 0x20 else "")
            header = f"{name} type={numbers[0]} to={numbers[1]}/{numbers[2]} from={'/'.join(map(str, numbers[3:]))} request={asked}"
        elif header is None:
            raise Bad("the first frame repeats another")
        print(f"    {header} {show(taker.bytes(length))}")


def batches(taker):
    for _ in range(taker.varint()):
        source, epoch, first, count = taker.varint(32), taker.varint(32), taker.varint(), taker.varint(32)
        print(f"  batch source={source} epoch={epoch} first={first} count={count}")
        inner = Taker(taker.counted())
        frames(inner, count)
        inner.end()


def record(kind, taker, place):
    name, digest = KINDS[kind], lambda: f"{taker.fixed(8):016x}"
    if kind == 9:
        text = f"{taker.varint()}:{taker.varint()}"
    elif kind == 10:
        text = f"epoch={taker.varint(32)}"
    elif kind == 13:
        text = f"{taker.worker()} request={request(taker)}"
    elif kind == 1:
        text = f"{taker.worker()} epoch={taker.varint(32)} request={request(taker)} {show(taker.counted())}"
    else:
        text = f"{taker.worker()} {taker.varint()} "
        if kind == 3:
            text += f"bound={taker.varint(32)} now={taker.varint()} {digest()}"
        elif kind in (4, 14):
            text += f"{taker.counted().decode()} {show(taker.counted()) if kind == 4 else taker.varint(32)}"
        elif kind in (2, 5, 15):
            text += digest()
        elif kind == 7:
            text += f"{digest()} {digest()} {digest()}"
        elif kind in (6, 8):
            text += show(taker.counted())
        elif kind == 11:
            text += f"{delivery(taker)} stops={taker.flag()}"
        elif kind == 12:
            text += f"outcome={taker.fixed(1)} {delivery(taker) if taker.flag() else '-'}"
    print(f"{place} {name} {text}")
    if kind == 3:
        batches(taker)
    taker.end()


def segment(data, number):
    body, chain, at = block(data, b"QNFSM\x1ajl")
    taker = Taker(body)
    codec, generator, flags, lane, identity = [taker.fixed(size) for size in (1, 1, 2, 2, 16)]
    node, epoch, epoch_random, build, build_bytes, says = [taker.fixed(size) for size in (4, 4, 8, 8, 8, 8)]
    link = [taker.fixed(size) for size in (1, 8, 8, 4)]
    if flags > 1 or lane or says != number:
        raise Bad("a header of another segment, or of a later version")
    print(f"segment {number} codec={codec} generator={generator} {identity:032x} node={node} epoch={epoch} {epoch_random:016x}")
    print(f"  build={build:016x}/{build_bytes} link={'/'.join(map(str, link))} {show(taker.counted())} {show(taker.counted())}")
    taker.end()
    end = len(data.rstrip(b"\0"))
    while at < end:
        head = Taker(data[at : at + 24])
        word, kind, flags, lane = head.bytes(4), head.fixed(1), head.fixed(1), head.fixed(2)
        length, chained, body_sum, head_sum = [head.fixed(4) for _ in range(4)]
        where = b"".join(value.to_bytes(size, "little") for value, size in ((identity, 16), (number, 8), (at, 8)))
        if word != SYNC_WORD or crc32(where + head.data[:20]) != head_sum or chained != chain or length > RECORD_MAX:
            raise Bad(f"no sound record at {number}:{at}")
        body = data[at + 24 : at + 24 + length]
        if len(body) != length or crc32(body) != body_sum or flags > 1 or lane:
            raise Bad(f"the record at {number}:{at}")
        if kind in KINDS:
            record(kind, Taker(body), f"{number}:{at}")
        elif not flags:
            raise Bad(f"kind {kind} at {number}:{at}")
        chain, at = crc32(head.data[:20]), at + 24 + length
    return at


def main(node):
    body, _, _ = block((node / "manifest").read_bytes(), b"QNFSM\x1amf")
    oldest = int.from_bytes(body[33:41], "little")
    for number in sorted(int(path.stem) for path in (node / "journal").glob("*.qjl")):
        if number < oldest:
            continue
        at = segment((node / "journal" / f"{number:08}.qjl").read_bytes(), number)
    print(f"end {number}:{at}")
    for worker, round_ in sorted(tuple(map(int, path.stem.split("-"))) for path in (node / "snapshots").glob("*.qsn")):
        data = (node / "snapshots" / f"{worker}-{round_}.qsn").read_bytes()
        body, _, at = block(data, b"QNFSM\x1asn")
        fields, end = Taker(body[20:]), Taker(data[-28:])
        said = [fields.fixed(4), fields.fixed(8)] + [end.fixed(size) for size in (8, 4, 8, 4, 4)]
        parts = data[at : at + said[2]], data[at + said[2] : -28]
        sums = [number for part in parts for number in (len(part), crc32(part))]
        if said != [worker, round_, *sums, crc32(data[-28:-4])]:
            raise Bad(f"snapshot {worker}-{round_}")
        print(f"snapshot w{worker} {round_} {show(fields.counted())} {show(parts[0])} {show(parts[1])}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
