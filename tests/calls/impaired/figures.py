"""What a capture says of one RTP stream: figures.py CAPTURE PORT [PACKETS…], the packets that came to that UDP port.

Prints packets received and lost (RFC 3550 A.3), for each count of PACKETS loss and jitter (A.8, in ms) at the moment when so
many had come, and bursts and gaps (RFC 3611 4.7.2, with Gmin 16; lengths in packets). Knows nothing of the program that it judges.
"""

import json
import struct
import sys

CLOCK, GMIN = 8000, 16


def packets(path, port):
    """Arrival in seconds, sequence number, timestamp."""
    with open(path, "rb") as file:
        magic = file.read(24)[:4]
        scale = {b"\xd4\xc3\xb2\xa1": 1e-6, b"\x4d\x3c\xb2\xa1": 1e-9}[magic]
        while len(record := file.read(16)) == 16:
            seconds, part, length, _ = struct.unpack("<4I", record)
            frame = file.read(length)
            if frame[12:14] != b"\x08\x00" or frame[23] != 17:
                continue
            udp = 14 + (frame[14] & 15) * 4
            rtp = frame[udp + 8 :]
            if struct.unpack("!H", frame[udp + 2 : udp + 4])[0] == port and len(rtp) >= 12 and rtp[0] >> 6 == 2:
                sequence, timestamp, ssrc = struct.unpack("!HII", rtp[2:12])
                yield seconds + part * scale, sequence, timestamp, ssrc


def signed(value, bits):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def bursts(arrived, first, last):
    c11 = c13 = c14 = c22 = c23 = c33 = run = lost = 0
    for sequence in range(first, last + 1):
        if sequence in arrived:
            run += 1
            continue
        if run >= GMIN:
            if lost == 1:
                c14 += 1
            else:
                c13 += 1
            lost = 1
            c11 += run
        else:
            lost += 1
            if run == 0:
                c33 += 1
            else:
                c23 += 1
                c22 += run - 1
        run = 0
    total = c11 + c14 + c13 + c22 + c23 + c13 + c23 + c33
    p32 = c23 / (c13 + c23 + c33)
    p23 = 1 if c22 + c23 < 1 else 1 - c22 / (c22 + c23)
    gap = (c11 + c14 + c13) / c13
    return {
        "burst_density": 100 * p23 / (p23 + p32),
        "gap_density": 100 * c14 / (c11 + c14),
        "gap": gap,
        "burst": total / c13 - gap,
    }


path, port, *counts = sys.argv[1:]
counts = {int(count) for count in counts}
arrived, before, jitter, count, at, sources = set(), None, 0.0, 0, {}, set()
for moment, sequence, timestamp, ssrc in packets(path, int(port)):
    sources.add(ssrc)
    count += 1
    if before is None:
        extended = first = highest = sequence
    else:
        extended = highest + signed(sequence - highest, 16)
        highest = max(highest, extended)
        difference = (moment - before[0]) * CLOCK - signed(timestamp - before[1], 32)
        jitter += (abs(difference) - jitter) / 16
    arrived.add(extended)
    before = moment, timestamp
    if count in counts:
        at[count] = {"lost": highest - first + 1 - count, "jitter_ms": jitter * 1000 / CLOCK}
print(
    json.dumps(
        {
            "received": count,
            "lost": highest - first + 1 - count,
            "sources": len(sources),
            "bursts": bursts(arrived, first, highest),
            "at": at,
        }
    )
)
