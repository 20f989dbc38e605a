"""echo_anyone.py PORT [plain|large]: echoes what comes by TCP and UDP, and lets nobody stop it: it never waits for one peer, and an error ends
one connection only. It greets who connects, so that a hostile client's input rings have something in them; unless `plain`: a
greeting with an urgent byte keeps a connection out of passages. `large`: plain, with one buffer for all that can be exchanged page by page.
"""
import mmap
import select
import socket
import sys

port, plain = int(sys.argv[1]), sys.argv[2:] in (["plain"], ["large"])
buffer = memoryview(mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)) if sys.argv[2:] == ["large"] else None
listener = socket.create_server(("0.0.0.0", port), backlog=4096)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("0.0.0.0", port))
connections, poller = {}, select.epoll()
unsent = {}  # by descriptor: what did not fit; meanwhile nothing is read
for first in (listener, datagrams):
    first.setblocking(False)
    poller.register(first.fileno(), select.EPOLLIN)
print("ready", flush=True)


def accept():
    sock = listener.accept()[0]
    sock.setblocking(False)
    connections[sock.fileno()] = sock
    poller.register(sock.fileno(), select.EPOLLIN)
    if not plain:
        sock.send(b"greetings" * 1000)
        sock.send(b"!", socket.MSG_OOB)


def receive(sock):
    return buffer[:sock.recv_into(buffer)] if buffer else sock.recv(65536)


def echo(fd):
    data = unsent.pop(fd, None) or receive(connections[fd])
    if not data:
        raise ConnectionResetError
    try:
        left = bytes(data[connections[fd].send(data):])
    except BlockingIOError:
        left = bytes(data)
    if left:
        unsent[fd] = left
    poller.modify(fd, select.EPOLLOUT if left else select.EPOLLIN)


while True:
    for ready, _ in poller.poll():
        try:
            if ready == listener.fileno():
                accept()
            elif ready == datagrams.fileno():
                datagrams.sendto(*datagrams.recvfrom(65536))
            else:
                echo(ready)
        except BlockingIOError:
            continue
        except OSError:
            if ready in connections:
                poller.unregister(ready)
                connections.pop(ready).close()
                unsent.pop(ready, None)
