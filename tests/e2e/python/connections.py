"""connections.py serve PORT | open HOST PORT TOTAL AT_ONCE | hold HOST PORT COUNT

serve: echoes lines, epoll, one thread. open: opens, uses and closes TOTAL connections, AT_ONCE at a time. hold: opens COUNT
connections, prints "holding" and waits for the end of its standard input.
"""
import resource
import select
import socket
import sys

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def serve(port):
    listener = socket.create_server(("0.0.0.0", port), backlog=4096)
    listener.setblocking(False)
    poller, connections, most, total = select.epoll(), {}, 0, 0
    poller.register(listener.fileno(), select.EPOLLIN)
    print("ready", flush=True)
    while True:
        for fd, _ in poller.poll():
            if fd == listener.fileno():
                while True:
                    try:
                        sock, _ = listener.accept()
                    except BlockingIOError:
                        break
                    connections[sock.fileno()] = sock
                    poller.register(sock.fileno(), select.EPOLLIN)
                    total += 1
                    if len(connections) > most:
                        most = len(connections)
                continue
            sock = connections[fd]
            try:
                data = sock.recv(4096)
            except ConnectionResetError:
                data = b""
            if data == b"report\n":
                data = f"{total} {most}\n".encode()
            if data:
                sock.sendall(data)
            else:
                poller.unregister(fd)
                connections.pop(fd).close()


def exchange(sock, line):
    sock.sendall(line)
    got = b""
    while not got.endswith(b"\n"):
        part = sock.recv(4096)
        if not part:
            raise ValueError("the connection ended early")
        got += part
    return got


def open_many(host, port, total, at_once):
    done = 0
    while done < total:
        batch = [socket.create_connection((host, port), timeout=30) for _ in range(min(at_once, total - done))]
        for number, sock in enumerate(batch):
            line = b"connection %d\n" % (done + number)
            if exchange(sock, line) != line:
                raise ValueError("another connection's answer")
        for sock in batch:
            sock.close()
        done += len(batch)
    with socket.create_connection((host, port), timeout=30) as sock:
        counted, most = exchange(sock, b"report\n").split()
        print(f"opened {counted.decode()} at once {most.decode()}")


def hold(host, port, count):
    kept = [socket.create_connection((host, port), timeout=30) for _ in range(count)]
    for sock in kept:
        exchange(sock, b"hello\n")
    print("holding", flush=True)
    sys.stdin.read()


{"serve": lambda: serve(int(sys.argv[2])),
 "open": lambda: open_many(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])),
 "hold": lambda: hold(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))}[sys.argv[1]]()
