"""ports.py client HOST PORT OWN | server OWN: sockets with ports that the program chooses, and what it may expect of them. Prints counts."""
import errno
import select
import socket
import sys
import threading

OWN = sys.argv[-1]


def exchange(sock, text):
    sock.sendall(text)
    got = b""
    while len(got) < len(text):
        piece = sock.recv(100)
        if not piece:
            raise SystemExit(f"the connection ended after {got}")
        got += piece
    return got == text


def connected_from(own, port, host, remote):
    sock = socket.socket()
    sock.settimeout(10)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((own, port))
    sock.connect((host, remote))
    return sock


def client(host, remote):
    good = 0
    for port in range(20100, 20140):  # at the same time: most of their flows are no engine's that has the socket
        sock = connected_from(OWN if port % 2 else "", port, host, remote)
        good += sock.getsockname()[1] == port and exchange(sock, b"from %d\n" % port)
        if port % 4:
            sock.close()
    print("chosen", good)
    good = 0
    for _ in range(20):
        sock = connected_from(OWN, 0, host, remote)
        good += sock.getsockname()[1] > 0 and exchange(sock, b"hello\n")
        sock.close()
    print("any", good)


def listener(port, reuse_port=False):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if reuse_port else socket.SO_REUSEADDR, 1)
    sock.bind((OWN, port))
    sock.listen(8)
    return sock


def error_of(call):
    try:
        call()
    except OSError as error:
        return error.errno
    return 0


def server():
    keep = [listener(port) for port in range(20200, 20212)]
    print("conflicts", sum(error_of(lambda p=port: listener(p)) == errno.EADDRINUSE for port in range(20200, 20212)))
    for sock in keep:
        sock.close()
    good = 0
    for _ in range(30):  # closed and open again, with a connection each time
        one = listener(20300)
        peer = socket.create_connection((OWN, 20300), timeout=10)
        child, _ = one.accept()
        good += exchange_pair(peer, child)
        one.close(), child.close(), peer.close()
    print("again", good)
    shared = [listener(20400, True), listener(20400, True)]
    accepted = set()
    for _ in range(64):
        peer = socket.create_connection((OWN, 20400), timeout=10)
        ready = select.select(shared, [], [], 10)[0]
        accepted.add(shared.index(ready[0]))
        ready[0].accept()[0].close()
        peer.close()
    print("shared", len(accepted))
    blocking()


def exchange_pair(peer, child):
    peer.sendall(b"ping")
    child.sendall(child.recv(10))
    return peer.recv(10) == b"ping"


def blocking():
    """accept(2) that waits, with and without a time-out, is woken by a connection in any engine."""
    one = listener(20500)
    served = []

    def serve():
        for turn in range(20):
            one.settimeout(20 if turn % 2 else None)
            child, _ = one.accept()
            served.append(child.recv(10))
            child.close()
    thread = threading.Thread(target=serve)
    thread.start()
    for _ in range(20):
        peer = socket.create_connection((OWN, 20500), timeout=10)
        peer.sendall(b"x")
        peer.recv(1)
        peer.close()
    thread.join()
    print("blocking", served.count(b"x"))


if sys.argv[1] == "client":
    client(sys.argv[2], int(sys.argv[3]))
else:
    server()
