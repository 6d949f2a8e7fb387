#!/usr/bin/env python3
"""Sets calls up in rtpengine through its ng protocol: rtpengine.py MAP CALLS [plain|srtp|srtp-both|opus|opus-equal].

MAP gets a line per call, "PORT_FOR_CALLER PORT_FOR_CALLEE", as rtpgen reads them. G.711 on both legs; with srtp the
callee's is protected by SDES, with srtp-both the caller's too; with opus the callee speaks Opus, with opus-equal it is coded
as ours is: one channel, 16 kbit/s, complexity 5.
"""
import base64
import os
import socket
import sys

ENGINE = ("127.0.0.1", 2223)
CALLER = ("127.0.0.2", 40000)
CALLEE = ("127.0.0.3", 40001)
SUITE, KEY = "AES_CM_128_HMAC_SHA1_80", b"0123456789abcdefABCDEFGHIJKLMN"


def encode(value):
    """Bencode (ng protocol)."""
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    return b"d" + b"".join(encode(k) + encode(v) for k, v in sorted(value.items())) + b"e"


def text_of(reply, key):
    """The string under `key` of a flat reply."""
    at = reply.find(b"%d:%s" % (len(key), key))
    if at < 0:
        return b""
    length, rest = reply[at + len(b"%d:%s" % (len(key), key)):].split(b":", 1)
    return rest[:int(length)]


class Engine:
    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(5)
        self.cookies = 0

    def ask(self, command, **fields):
        self.cookies += 1
        cookie = b"%d_%d" % (os.getpid(), self.cookies)
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        self.socket.sendto(cookie + b" " + encode({"command": command, **fields}), ENGINE)
        while True:
            got, reply = self.socket.recv(65535).split(b" ", 1)
            if got == cookie:
                break
        if text_of(reply, b"result") not in (b"ok", b"pong"):
            raise SystemExit("rtpengine: %s: %r" % (command, reply))
        return text_of(reply, b"sdp")


def description(address, profile="RTP/AVP", codec="0 PCMU/8000", *more):
    host, port = address
    lines = ["v=0", "o=- 1 1 IN IP4 " + host, "s=-", "c=IN IP4 " + host, "t=0 0", "m=audio %d %s %s" % (port, profile, codec.split()[0]), "a=rtpmap:" + codec, *more, "a=ptime:20", ""]
    return "\r\n".join(lines)


def port(sdp):
    return int(sdp.split(b"m=audio ", 1)[1].split()[0])


def line(sdp, start, holds):
    return next(text for text in sdp.decode().splitlines() if text.startswith(start) and holds in text)


def main():
    path, calls = sys.argv[1], int(sys.argv[2])
    mode = sys.argv[3] if len(sys.argv) > 3 else "plain"
    towards = {
        "plain": {},
        "srtp": {"transport-protocol": "RTP/SAVP", "SDES": ["only-" + SUITE]},
        "srtp-both": {"SDES": ["only-" + SUITE]},
        "opus-equal": {"codec": {"transcode": ["opus/48000/1/16000//compression_level=5"], "mask": ["PCMU"]}},
        "opus": {"codec": {"transcode": ["opus"], "mask": ["PCMU"]}},
    }[mode]
    back = {"transport-protocol": "RTP/AVP"} if mode == "srtp" else {}
    inline = "a=crypto:%%s %s inline:%s" % (SUITE, base64.b64encode(KEY).decode())
    caller = description(CALLER, "RTP/SAVP", "0 PCMU/8000", inline % "1") if mode == "srtp-both" else description(CALLER)
    engine = Engine()
    with open(path, "w") as out:
        for i in range(calls):
            common = {"call_id": "%d-%d" % (os.getpid(), i), "from_tag": "a", "ICE": "remove", "replace": ["origin", "session-connection"]}
            offer = engine.ask("offer", sdp=caller, **common, **towards)
            if mode.startswith("srtp"):
                tag = line(offer, "a=crypto:", SUITE).split(":")[1].split()[0]
                answer = description(CALLEE, "RTP/SAVP", "0 PCMU/8000", inline % tag)
            elif mode.startswith("opus"):
                answer = description(CALLEE, "RTP/AVP", line(offer, "a=rtpmap:", "opus/48000")[len("a=rtpmap:"):])
            else:
                answer = description(CALLEE)
            for_caller = port(engine.ask("answer", sdp=answer, to_tag="b", **common, **back))
            out.write("%d %d\n" % (for_caller, port(offer)))


main()
