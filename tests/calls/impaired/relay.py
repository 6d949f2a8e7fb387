"""Carries frames between two interfaces, and loses and delays the RTP that goes from the first to the second.

relay.py FIRST SECOND LOSS JITTER_MS FIRST_PORT SEED, where the kernel has no netem: each packet to a UDP port from
FIRST_PORT on is lost by chance, or comes by up to JITTER_MS sooner or later than twice that time. LOSS 0 and JITTER_MS 0: a wire.
"""

import heapq
import random
import select
import socket
import struct
import sys
import time

first, second, loss, jitter, port, seed = sys.argv[1:]
loss, jitter, port = float(loss), float(jitter) / 1000, int(port)
chance = random.Random(int(seed))


def opened(name):
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    one.bind((name, 0))
    return one


def media(frame):
    """Whether it is a UDP packet to a port of media; the checksum that the sender left to its card is taken out."""
    if frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return False
    header = 14 + (frame[14] & 15) * 4
    frame[header + 6 : header + 8] = b"\0\0"
    return struct.unpack("!H", frame[header + 2 : header + 4])[0] >= port


ends = [opened(first), opened(second)]
waiting, number = [], 0
print("carries", flush=True)
while True:
    pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
    for end in select.select(ends, [], [], pause)[0]:
        octets, origin = end.recvfrom(65536)
        if origin[2] == socket.PACKET_OUTGOING:
            continue
        frame, now = bytearray(octets), time.monotonic()
        impaired = media(frame) and end is ends[0] and (loss or jitter)
        if not impaired:
            ends[1 if end is ends[0] else 0].send(frame)
        elif chance.random() * 100 >= loss:
            number += 1
            heapq.heappush(waiting, (now + 2 * jitter + chance.uniform(-jitter, jitter), number, frame))
    while waiting and waiting[0][0] <= time.monotonic():
        ends[1].send(heapq.heappop(waiting)[2])
