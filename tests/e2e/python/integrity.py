"""integrity.py serve PORT | send HOST PORT COUNT: a buffer holds a pattern, and shows at any time either that or what was received.

UDP over a path that flips bits: `send` sends COUNT datagrams of a known content, then "end" until it is told that they came; `serve`
receives into one buffer again and again while a thread looks at it all the time ("PAPER.md, property 3": a bad checksum and a time-out
leave every byte as it was). Then TCP: a receive that times out, and one that meets a reset, leave the buffer alone too.
"""
import ctypes
import socket
import struct
import sys
import threading
import time

SIZE, CANARY = 1400, b"\xa5"
memory = ctypes.create_string_buffer(2 * SIZE)
view = memoryview(memory).cast("B")
untouched = CANARY * (2 * SIZE)
memory.raw = untouched


def content(number):
    return struct.pack(">I", number) * (SIZE // 4)


def is_good(seen):
    """The pattern, or a whole datagram in front of the pattern."""
    if seen == untouched:
        return True
    number = struct.unpack_from(">I", seen)[0]
    return seen == content(number) + untouched[SIZE:]


class Watcher:
    """Looks at the buffer all the time, and keeps what is neither the pattern nor a whole datagram: half a datagram perhaps."""

    def __init__(self):
        self.odd, self.before, self.ending = [], b"", threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.ending.is_set():
            seen = bytes(view)
            if not is_good(seen) and len(self.odd) < 1000:
                self.odd.append(seen)

    def explain(self, received):
        """What was seen and is not explained by a copy under way: of `received`, or of the one before, which was kept a moment late."""
        odd, self.odd = self.odd, []
        wholes = [each + untouched[len(each):] for each in (received, self.before)]
        self.before = received
        return [seen[:32] for seen in odd if all(any(a not in (b, CANARY[0]) for a, b in zip(seen, whole)) for whole in wholes)]

    def end(self):
        self.ending.set()
        self.thread.join()


def receive_datagrams(sock):
    """How many came, how many receives timed out, and what was in the buffer that should not have been."""
    came, timed_out, problems, watcher = 0, 0, [], Watcher()
    while True:
        memory.raw = untouched
        try:
            got, sender = sock.recvfrom_into(view)
        except TimeoutError:
            timed_out += 1
            if bytes(view) != untouched:
                problems.append(bytes(view)[:32])
            problems += watcher.explain(b"")
            continue
        seen = bytes(view)
        if seen[:3] == b"end":
            sock.sendto(b"ended", sender)
            break
        if got != SIZE or not is_good(seen):
            problems.append(seen[:32])
        problems += watcher.explain(seen[:got])
        came += 1
    watcher.end()
    return came, timed_out, problems


def expect_untouched(what, problems):
    if bytes(view) != untouched:
        problems.append(what)


def receive_nothing(listener, problems):
    """The stream of a client that sends nothing, and then resets."""
    sock, _ = listener.accept()
    memory.raw = untouched
    sock.settimeout(0.2)
    try:
        problems.append(f"{sock.recv_into(view)} bytes of nothing")
    except TimeoutError:
        expect_untouched("a time-out wrote", problems)
    sock.settimeout(None)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 200_000))
    try:
        problems.append(f"{sock.recv_into(view)} bytes of nothing")
    except BlockingIOError:
        expect_untouched("a time-out of SO_RCVTIMEO wrote", problems)
    sock.sendall(b"now")
    for _ in range(100):  # its reset may be lost; what we send is answered by another
        try:
            problems.append(f"{sock.recv_into(view)} bytes of nothing")
        except BlockingIOError:
            pass
        except ConnectionResetError:
            break
        try:
            sock.sendall(b"again")
        except ConnectionResetError:
            break
    else:
        problems.append("no reset came")
    expect_untouched("a reset wrote", problems)


def serve(port):
    problems = []
    with socket.create_server(("0.0.0.0", port)) as listener, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", port))
        sock.settimeout(0.02)
        print("ready", flush=True)
        came, timed_out, wrong = receive_datagrams(sock)
        receive_nothing(listener, problems)
    print(f"came {came} timed-out {timed_out}", flush=True)
    if wrong or problems:
        sys.exit(f"the buffer held other bytes: {wrong[:5]} {problems}")


def send(host, port, count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(count):
            sock.sendto(content(number), (host, port))
            if number % 64 == 0:
                time.sleep(0.03)
        sock.settimeout(0.1)
        for _ in range(200):
            sock.sendto(b"end", (host, port))
            try:
                if sock.recv(100) == b"ended":
                    break
            except (TimeoutError, ConnectionRefusedError):
                pass
    sock = socket.create_connection((host, port), timeout=30)
    sock.recv(3, socket.MSG_WAITALL)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
