"""flow.py serve|connect HOST PORT send|receive|both NOTE: one connection on which bytes flow until the other end is gone, every one checked.

Of what it sends, the number of bytes that send(2) has taken is in the file NOTE (8 bytes) at any time, whatever becomes of us. Prints, at
the end, how many bytes came and how the connection ended, as in "123456 eof" or "0 reset". With LARGE in the environment it sends and
receives large buffers, whose pages can change hands.
"""
import mmap
import os
import random
import socket
import struct
import sys
import threading
import time

ROLE, HOST, PORT, WAYS, NOTE = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
PERIOD = 999_983
TABLE = random.Random(7).randbytes(PERIOD) * 10
LARGE = os.environ.get("LARGE") == "1"


def expected(position, length):
    at = position % PERIOD
    return TABLE[at:at + length]


def buffer_of(size):
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def piece(position, dice):
    """The next bytes to send."""
    if not LARGE:
        return expected(position, dice.choice((1, 100, 4096, 70_000, 600_000)))
    fresh = buffer_of(dice.choice((2, 4, 8)) << 20)
    fresh[:] = expected(position, len(fresh))
    return fresh


def send(sock):
    dice, position = random.Random(), 0
    with open(NOTE, "r+b") as file, mmap.mmap(file.fileno(), 8) as note:
        try:
            while True:
                position += sock.send(piece(position, dice))
                note[:] = struct.pack("=Q", position)
        except (ConnectionResetError, BrokenPipeError):
            return


def receive(sock):
    position, buffer, dice = 0, buffer_of(8 << 20) if LARGE else bytearray(200_000), random.Random()
    try:
        while got := sock.recv_into(buffer):
            time.sleep(dice.choice((0, 0, 0.003)))  # so that there is mostly something unread
            if buffer[:got] != expected(position, got):
                sys.exit(f"wrong bytes among the {got} from {position} on")
            position += got
        return position, "eof"
    except ConnectionResetError:
        return position, "reset"


def connection():
    if ROLE == "connect":
        return socket.create_connection((HOST, PORT))
    with socket.create_server(("0.0.0.0", PORT)) as listener:
        print("ready", flush=True)
        return listener.accept()[0]


with connection() as both:
    result = 0, "reset"
    sender = threading.Thread(target=send, args=(both,))
    if WAYS != "receive":
        sender.start()
    if WAYS != "send":
        result = receive(both)
    if WAYS != "receive":
        sender.join()
print(*result)
