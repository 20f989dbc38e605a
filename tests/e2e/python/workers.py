"""workers.py serve PORT | ask HOST PORT COUNT: two processes that accept from one listener, as a preforking server's, and who is served by which.

The first waits in accept(2), the second in poll(2). The server prints the number of each; every connection is told who serves it, and echoed a line.
`ask` opens COUNT connections before it says anything on any of them, and prints who served them.
"""
import os
import select
import socket
import sys

PATIENCE = 10  # seconds


def serve(listener, polls):
    if polls:
        listener.setblocking(False)
    while True:
        if polls:
            select.select([listener], [], [])
        try:
            sock = listener.accept()[0]
        except BlockingIOError:  # the other one was faster
            continue
        with sock:
            sock.settimeout(PATIENCE)
            sock.sendall(b"%d\n" % os.getpid())
            try:
                sock.sendall(sock.recv(100))
            except OSError:
                pass


def start(port):
    listener = socket.create_server(("0.0.0.0", port), backlog=64)
    for polls in (False, True):
        child = os.fork()
        if child == 0:
            serve(listener, polls)
        print("worker", child, flush=True)
    print("ready", flush=True)
    listener.close()
    os.wait()
    os.wait()


def ask(host, port, count):
    connections = [socket.create_connection((host, port), PATIENCE) for _ in range(count)]
    for number, sock in enumerate(connections):
        sock.sendall(b"%d" % number)
    served = []
    for number, sock in enumerate(connections):
        with sock, sock.makefile("rb") as lines:
            served.append(int(lines.readline()))
            echo = lines.read()
            if echo != b"%d" % number:
                sys.exit(f"{echo} came back for {number}")
    print("served by", *served)


if sys.argv[1] == "serve":
    start(int(sys.argv[2]))
else:
    ask(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
