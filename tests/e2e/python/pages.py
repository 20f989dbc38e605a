"""pages.py serve PORT ROUNDS | send HOST PORT ROUNDS: receives into large buffers that end early, fail, or have a child beside them.

Each round the receiver fills a buffer with its own letter and asks for all of it; what comes is all, some, or nothing, of a text that names the
port. Nothing else may ever be in the buffer: no other bytes of its own, and none of another client's ("PAPER.md", properties 3 and 4).
Then receives that end by time-outs of a millisecond or two while bytes come all the time, and at last a reset.

pages.py count PORT COUNT SIZE | stream HOST PORT COUNT SIZE: COUNT messages of SIZE bytes, each asked for before it is sent. Says how many
pages of the buffer were exchanged, by where the kernel has them in the region's memory file.
"""
import ctypes
import errno
import mmap
import os
import signal
import socket
import struct
import sys

SIZE = 7 << 20
HUGE = 2 << 20
HURRIED = 64 << 20

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.recv.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
LIBC.recv.restype = ctypes.c_ssize_t


def text(port, number, size):
    line = f"secret of {port}, round {number:04d}; ".encode()
    return (line * (size // len(line) + 1))[:size]


def plan(number):
    """What happens in this round: how much is sent, where in the buffer it goes, and what else happens."""
    offset = (0, 5, 4096, HUGE - 1, HUGE)[number % 5]
    size = (SIZE - HUGE, 0, 3 * HUGE // 2 + 77, HUGE, 100_000, 0, SIZE - HUGE, HUGE + 1)[number % 8]
    kind = ("time-out", "signal", "child", "time-out", "kept child")[number % 5 if size < SIZE - HUGE else 2 + number % 3]
    return offset, size, kind


def receive(sock, view, kind):
    """Bytes that came."""
    if kind is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 150_000) if kind != "signal" else struct.pack("ll", 10, 0))
    if kind == "signal":
        signal.setitimer(signal.ITIMER_REAL, 0.15)
    got = LIBC.recv(sock.fileno(), ctypes.addressof(ctypes.c_char.from_buffer(view)), len(view), socket.MSG_WAITALL)  # which Python would repeat
    signal.setitimer(signal.ITIMER_REAL, 0)
    if got < 0 and ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
        sys.exit(f"recv: {os.strerror(ctypes.get_errno())}")
    return max(got, 0)


def one_round(sock, port, number, children):
    offset, size, kind = plan(number)
    buffer = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    own = bytes([ord("A") + number % 26]) * SIZE
    buffer[:] = own
    if "child" in kind:
        ends = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ends[1])
            os.read(ends[0], 1)  # until the parent has received
            good = buffer[:] == own
            buffer[:] = b"c" * SIZE
            os._exit(0 if good else 1)
        os.close(ends[0])
        children.append((child, ends[1]))
    sock.sendall(b"!")
    got = receive(sock, memoryview(buffer)[offset:], kind)
    while got < size:  # a signal, or a time-out on a busy machine, between two pieces
        got += receive(sock, memoryview(buffer)[offset + got:], kind)
    expected = own[:offset] + text(port, number, size) + own[offset + size:]
    if got != size or buffer[:] != expected:
        seen = buffer[:]
        wrong = next((i for i in range(SIZE) if seen[i] != expected[i]), SIZE)
        sys.exit(f"round {number}: {got} of {size} bytes came at {offset}; at {wrong} is {seen[wrong:wrong + 40]!r} for {expected[wrong:wrong + 40]!r}")
    if kind != "kept child":
        while children:
            child, end = children.pop()
            os.close(end)
            if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
                sys.exit(f"round {number}: a child saw other bytes than its parent had")


def hurry(sock, port, number):
    """What a receive gave back is memory of the next buffer, or of the one behind; nothing may be written to it any more."""
    whole, done, before = text(port, number, HURRIED), 0, None
    sock.sendall(b"!")
    while done < HURRIED:
        number += 1
        buffer, offset = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), plan(number)[0]
        own = bytes([ord("a") + number % 26]) * SIZE
        buffer[:] = own
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 1000 + number % 8 * 200))
        got = receive(sock, memoryview(buffer)[offset:], None)
        expected = own[:offset] + whole[done:done + got] + own[offset + got:]
        for seen, wanted in ((buffer, expected), before or (buffer, expected)):
            if seen[:] != wanted:
                wrong = next(i for i in range(SIZE) if seen[i] != wanted[i])
                sys.exit(f"after {done} bytes in a hurry: {seen[wrong:wrong + 40]!r} for {wanted[wrong:wrong + 40]!r} at {wrong} of {got} bytes at {offset}")
        before = buffer, expected
        done += got


def serve(port, rounds):
    signal.signal(signal.SIGALRM, lambda *_: None)
    with socket.create_server(("0.0.0.0", port)) as listener:
        print("ready", flush=True)
        sock, _ = listener.accept()
        children = []
        for number in range(rounds):
            one_round(sock, port, number, children)
        for child, end in children:
            os.close(end)
            os.waitpid(child, 0)
        hurry(sock, port, rounds)
        # The end: a reset after some bytes. What came before it may come, or not; nothing else does.
        buffer = bytearray(b"u" * SIZE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 10, 0))
        sock.sendall(b"!")
        try:
            got = sock.recv_into(buffer, 0, socket.MSG_WAITALL)
        except ConnectionResetError:
            got = 0
        if buffer != text(port, rounds, got) + b"u" * (SIZE - got):
            sys.exit("a reset wrote")


def send(host, port, rounds):
    sock = socket.create_connection((host, port))
    for number in range(rounds):
        sock.recv(1, socket.MSG_WAITALL)
        sock.sendall(text(port, number, plan(number)[1]))
    for size in (HURRIED, 300_000):
        sock.recv(1, socket.MSG_WAITALL)
        sock.sendall(text(port, rounds, size))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def places(buffer):
    """Where in their file the pages of the buffer are."""
    start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    found = {}
    with open("/proc/self/maps") as lines:
        for line in lines:
            span, _, offset = line.split()[:3]
            begin, end = (int(word, 16) for word in span.split("-"))
            for page in range(max(begin, start), min(end, start + len(buffer)), HUGE):
                found[page] = int(offset, 16) + page - begin
    return found


def count(port, messages, size):
    with socket.create_server(("0.0.0.0", port)) as listener:
        # No more than this (Linux doubles it) can come of a message before the memory for it is there, however long the processor is away.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 512 << 10)
        print("ready", flush=True)
        sock, _ = listener.accept()
        buffer = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        exchanged = 0
        for number in range(messages):
            before = places(buffer)
            sock.sendall(b"!")
            if sock.recv_into(buffer, 0, socket.MSG_WAITALL) != size or buffer[:] != text(port, number, size):
                sys.exit(f"message {number} came otherwise")
            now = places(buffer)
            exchanged += sum(now[page] != before.get(page) for page in now)
        print(f"exchanged: {exchanged}")


def stream(host, port, messages, size):
    sock = socket.create_connection((host, port))
    for number in range(messages):
        message = text(port, number, size)
        sock.recv(1, socket.MSG_WAITALL)
        sock.sendall(message)


if sys.argv[1] in ("serve", "count"):
    {"serve": serve, "count": count}[sys.argv[1]](*map(int, sys.argv[2:]))
else:
    {"send": send, "stream": stream}[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))
