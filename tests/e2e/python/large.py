"""large.py serve PORT | send HOST PORT MEGABYTES WHAT…: large buffers, and what a program may do to one right after it has sent it.

    overwrite  fills it with other bytes        free  gives it back and allocates another        again  sends it twice
    fork       a child overwrites and frees it, then the parent does        exit  ends the process (the last of them)
    confine    sends it twice, the second time under a seccomp filter that kills for anything out of the ordinary (the last of them, too)

Each connection carries one buffer whose byte at i belongs to 4 KiB page i // 4096 and to the connection; the server answers with the
SHA-256 of what it got. `serve` ends after the connection that says so.
"""
import hashlib
import os
import socket
import struct
import sys

import confine


def content(megabytes, number):
    """Every page differs from all others."""
    page = bytes(range(256)) * 15
    return bytearray(b"".join(struct.pack(">QQ", number, i) * 16 + page for i in range(megabytes << 8)))


def digest(data):
    return hashlib.sha256(data).digest()


def serve(port):
    with socket.create_server(("0.0.0.0", port), backlog=16) as listener:
        print("ready", flush=True)
        last = False
        while not last:
            sock, _ = listener.accept()
            size, last, silent = struct.unpack(">QBB", sock.recv(10, socket.MSG_WAITALL))
            buffer = bytearray(size)
            view, filled = memoryview(buffer), 0
            while filled < size:
                got = sock.recv_into(view[filled:])
                if got == 0:
                    sys.exit(f"the stream ended after {filled} of {size} bytes")
                filled += got
            if silent:
                wanted = sock.recv(32, socket.MSG_WAITALL)
                print("good" if wanted == digest(buffer) else "bad", flush=True)
            else:
                sock.sendall(digest(buffer))
            sock.close()


def abuse(what, buffer):
    """Returns the buffer, or another in its place."""
    if what == "fork":
        child = os.fork()
        if child == 0:
            good = buffer[0] == 0 and buffer[4095] == buffer[len(buffer) - 1]
            buffer[:] = b"c" * len(buffer)
            del buffer
            os._exit(0 if good else 1)
        buffer[:] = b"p" * len(buffer)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            sys.exit("the child saw other bytes than its parent had")
        if buffer != b"p" * len(buffer):
            sys.exit("the child changed what its parent has")
    elif what == "free":
        size = len(buffer)
        del buffer
        return bytearray(b"f" * size)
    else:
        buffer[:] = b"x" * len(buffer)
    return buffer


def send(host, port, megabytes, whats):
    for number, what in enumerate(whats):
        sock = socket.create_connection((host, port))
        buffer = content(megabytes, number)
        twice = what in ("again", "confine")
        wanted = digest(buffer + buffer if twice else buffer)
        last, silent = number == len(whats) - 1, what == "exit"
        sock.sendall(struct.pack(">QBB", len(buffer) * (2 if twice else 1), last, silent))
        if silent:
            sock.sendall(buffer)
            sock.sendall(wanted)
            buffer[:] = b"e" * len(buffer)
            os._exit(0)
        sock.sendall(buffer)
        if what == "confine":
            confine.be_modest()
        if twice:
            sock.sendall(buffer)
        buffer = abuse(what, buffer)
        if sock.recv(32, socket.MSG_WAITALL) != wanted:
            sys.exit(f"{what}: other bytes arrived than were sent")
        print(what, "good", flush=True)
        sock.close()


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
