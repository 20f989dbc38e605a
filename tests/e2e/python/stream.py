"""stream.py serve PORT COUNT | send HOST PORT MEGABYTES STREAMS: pseudo-random streams both ways at once, every byte checked.

A stream is SHA-256 in counter mode of its number, so that both ends know every byte without talking about it; each end checks while
it receives and names the first wrong byte.
"""
import hashlib
import socket
import struct
import sys
import threading

BLOCK = 1 << 16
problems = []


def block_of(number, index):
    """64 KiB that differ from every other block; cheap to make."""
    seed = hashlib.sha256(struct.pack(">QQ", number, index)).digest()
    return hashlib.shake_128(seed).digest(BLOCK)


def send(sock, number, blocks):
    for index in range(blocks):
        sock.sendall(block_of(number, index))
    sock.shutdown(socket.SHUT_WR)


def receive(sock, number, blocks):
    view = bytearray(BLOCK)
    for index in range(blocks):
        filled = 0
        while filled < BLOCK:
            got = sock.recv_into(memoryview(view)[filled:])
            if got == 0:
                raise ValueError(f"stream {number} ended after {index * BLOCK + filled} bytes of {blocks * BLOCK}")
            filled += got
        wanted = block_of(number, index)
        if view != wanted:
            at = next(i for i in range(BLOCK) if view[i] != wanted[i])
            raise ValueError(f"stream {number}: byte {index * BLOCK + at} is wrong")
    if sock.recv(1):
        raise ValueError(f"stream {number} is too long")


def both_ways(sock, out_number, in_number, blocks):
    sender = threading.Thread(target=guard, args=(send, sock, out_number, blocks))
    sender.start()
    guard(receive, sock, in_number, blocks)
    sender.join()
    sock.close()


def guard(function, *words):
    try:
        function(*words)
    except Exception as error:  # pylint: disable=broad-except
        problems.append(f"{function.__name__}: {error!r}")


def serve(port, count):
    threads = []
    with socket.create_server(("0.0.0.0", port), backlog=128) as listener:
        print("ready", flush=True)
        for _ in range(count):
            sock, _ = listener.accept()
            number, blocks = struct.unpack(">QQ", sock.recv(16, socket.MSG_WAITALL))
            thread = threading.Thread(target=both_ways, args=(sock, 2 * number + 1, 2 * number, blocks))
            thread.start()
            threads.append(thread)
    for thread in threads:
        thread.join()


def send_all(host, port, megabytes, streams):
    blocks = megabytes * 16 // streams
    threads = []
    for number in range(streams):
        sock = socket.create_connection((host, port))
        sock.sendall(struct.pack(">QQ", number, blocks))
        thread = threading.Thread(target=both_ways, args=(sock, 2 * number, 2 * number + 1, blocks))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]), int(sys.argv[3]))
else:
    send_all(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
if problems:
    sys.exit("\n".join(problems))
