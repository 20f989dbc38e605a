"""ping.py HOST: ICMP echo by a raw socket of the kernel, of several sizes; the answers are compared."""
import os
import socket
import struct
import sys


def checksum(data):
    words = struct.unpack(f"!{len(data) // 2}H", data) if len(data) % 2 == 0 else struct.unpack(f"!{len(data) // 2 + 1}H", data + b"\0")
    total = sum(words)
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
    sock.settimeout(5)
    for sequence, size in enumerate((0, 1, 56, 1472, 1473, 20000, 60000)):
        payload = os.urandom(size)
        head = struct.pack("!BBHHH", 8, 0, 0, 0x4657, sequence)
        message = struct.pack("!BBHHH", 8, 0, checksum(head + payload), 0x4657, sequence) + payload
        sock.sendto(message, (sys.argv[1], 0))
        while True:
            packet = sock.recv(65535)
            answer = packet[(packet[0] & 15) * 4:]
            kind, _, _, identifier, number = struct.unpack_from("!BBHHH", answer)
            if kind == 0 and identifier == 0x4657 and number == sequence:
                break
        if answer[8:] != payload or checksum(answer) != 0:
            sys.exit(f"a wrong answer to {size} bytes")
