"""Knocks at many doors at once and says which of them answered: KIND:ADDRESS:PORT, one line each.

tcp: a connection is accepted. udp: a datagram is echoed. icmp: an echo is replied to. dns: the server gives an address for
the name in the place of the port.
"""

import errno
import os
import select
import socket
import struct
import sys
import time


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def start(kind, address, rest):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if kind == "tcp":
        door = socket.socket(family, socket.SOCK_STREAM)
        door.setblocking(False)
        begun = door.connect_ex((address, int(rest)))
        if begun not in (0, errno.EINPROGRESS):
            raise OSError(begun, "no way there")
        return door
    if kind == "icmp":
        door = socket.socket(family, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
        door.setblocking(False)
        body = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + b"bottle"
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
        door.sendto(body, (address, 0))
        return door
    door = socket.socket(family, socket.SOCK_DGRAM)
    door.setblocking(False)
    if kind == "udp":
        door.sendto(b"bottle", (address, int(rest)))
    else:
        question = b"".join(bytes([len(label)]) + label.encode() for label in rest.split("."))
        door.sendto(os.urandom(2) + b"\1\0\0\1\0\0\0\0\0\0" + question + b"\0\0\1\0\1", (address, 53))
    return door


def answered(kind, door):
    if kind == "tcp":
        return door.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    try:
        answer = door.recv(4096)
    except OSError:
        return False
    # The count of answers, in the header of RFC 1035, section 4.1.1.
    return kind != "dns" or answer[6:8] != b"\0\0"


waiting = {}
results = {}
for word in sys.argv[1:]:
    kind, rest = word.split(":", 1)
    address, last = rest.rsplit(":", 1)
    results[word] = False
    try:
        waiting[start(kind, address.strip("[]"), last)] = (word, kind)
    except OSError:
        pass
end = time.monotonic() + 3
while waiting and time.monotonic() < end:
    readers = [door for door, (_, kind) in waiting.items() if kind != "tcp"]
    writers = [door for door, (_, kind) in waiting.items() if kind == "tcp"]
    ready = select.select(readers, writers, [], max(0, end - time.monotonic()))
    for door in ready[0] + ready[1]:
        word, kind = waiting.pop(door)
        results[word] = answered(kind, door)
for word, came in results.items():
    print("open" if came else "shut", word)
