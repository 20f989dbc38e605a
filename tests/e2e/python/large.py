"""large.py serve PORT | send HOST PORT MEGABYTES WHAT…: large buffers, and what a program may do to one right after it has sent it.

    overwrite  fills it with other bytes        free  gives it back and allocates others        again  sends it twice
    change     writes to half of its pages and sends it once more       exit  ends the process (the last of them)
    thread     overwrites it, while from now on there is another thread, which sleeps: memory that was sent stays private then
    fork       a child overwrites and frees it, then the parent does
    confine    sends it twice, the second time under a seccomp filter that kills for anything out of the ordinary (the last of them, too)

Each connection carries one buffer whose byte at i belongs to 4 KiB page i // 4096 and to the connection; the server answers with the
SHA-256 of what it got. `serve` ends after the connection that says so, or that is cut, and then says whether what came was what was to come.
"""
import hashlib
import os
import socket
import struct
import sys
import threading

import confine


HEADER = struct.Struct(">QBBII")


def content(megabytes, number):
    """Every page differs from all others."""
    page = bytes(range(256)) * 15
    return bytearray(b"".join(struct.pack(">QQ", number, i) * 16 + page for i in range(megabytes << 8)))


def digest(data):
    return hashlib.sha256(data).digest()


def receive(sock, size):
    """So many bytes, or what comes of them before the end."""
    buffer = bytearray(size)
    view, filled = memoryview(buffer), 0
    while filled < size:
        try:
            got = sock.recv_into(view[filled:])
        except ConnectionResetError:
            got = 0
        if got == 0:
            break
        filled += got
    view.release()
    del buffer[filled:]
    return buffer


def serve(port):
    with socket.create_server(("0.0.0.0", port), backlog=16) as listener:
        print("ready", flush=True)
        last = False
        while not last:
            sock, _ = listener.accept()
            header = receive(sock, HEADER.size)
            if len(header) < HEADER.size:
                sys.exit("the stream ended at once")
            size, last, silent, megabytes, number = HEADER.unpack(header)
            buffer = receive(sock, size)
            if len(buffer) < size:
                good = (content(megabytes, number) * 2).startswith(buffer)  # what is sent twice is the same
                print("good" if good else "bad", "up to the cut", flush=True)
                sys.exit(f"the stream ended after {len(buffer)} of {size} bytes")
            if silent:
                wanted = sock.recv(32, socket.MSG_WAITALL)
                print("good" if wanted == digest(buffer) else "bad", flush=True)
            else:
                sock.sendall(digest(buffer))
            sock.close()


def abuse(what, held):
    """`held` is the only reference to the buffer: taken out of it, its memory is free."""
    buffer = held[0] if what != "free" else held.pop()
    if what == "fork":
        child = os.fork()
        if child == 0:
            good = buffer[0] == 0 and buffer[4095] == buffer[len(buffer) - 1]
            buffer[:] = b"c" * len(buffer)
            held.clear()
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
        held += [bytearray(b"f" * size) for _ in range(6)]  # more than is free in front of it
    else:
        buffer[:] = b"x" * len(buffer)


def change(buffer):
    """Writes to every other 4 KiB page."""
    for at in range(0, len(buffer), 8192):
        buffer[at:at + 8] = b"changed!"


def send(host, port, megabytes, whats):
    for number, what in enumerate(whats):
        sock = socket.create_connection((host, port))
        held = [content(megabytes, number)]
        twice = what in ("again", "change", "confine")
        second = bytearray(held[0] if twice else b"")
        if what == "change":
            change(second)
        wanted = digest(held[0] + second)
        last, silent = number == len(whats) - 1, what == "exit"
        sock.sendall(HEADER.pack(len(held[0]) + len(second), last, silent, megabytes, number))
        sock.sendall(held[0])
        if silent:
            sock.sendall(wanted)
            held[0][:] = b"e" * len(held[0])
            os._exit(0)
        if what == "confine":
            confine.be_modest()
        if what == "thread":
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        if what == "change":
            change(held[0])
        if twice:
            sock.sendall(held[0])
        abuse(what, held)
        if sock.recv(32, socket.MSG_WAITALL) != wanted:
            sys.exit(f"{what}: other bytes arrived than were sent")
        print(what, "good", flush=True)
        sock.close()


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
