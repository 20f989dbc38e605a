"""echo_anyone.py PORT: echoes what comes by TCP and UDP, greets who connects, and lets nobody stop it: it never waits for one peer,
and an error ends one connection only. The peer of a hostile client, whose input rings so have something in them.
"""
import select
import socket
import sys

port = int(sys.argv[1])
listener = socket.create_server(("0.0.0.0", port), backlog=4096)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("0.0.0.0", port))
connections, poller = {}, select.epoll()
for first in (listener, datagrams):
    first.setblocking(False)
    poller.register(first.fileno(), select.EPOLLIN)
print("ready", flush=True)
while True:
    for fd, _ in poller.poll():
        try:
            if fd == listener.fileno():
                sock = listener.accept()[0]
                sock.setblocking(False)
                connections[sock.fileno()] = sock
                poller.register(sock.fileno(), select.EPOLLIN)
                sock.send(b"greetings" * 1000)
                sock.send(b"!", socket.MSG_OOB)
            elif fd == datagrams.fileno():
                datagrams.sendto(*datagrams.recvfrom(65536))
            else:
                data = connections[fd].recv(65536)
                if not data:
                    raise ConnectionResetError
                connections[fd].send(data)  # what does not fit is lost
        except BlockingIOError:
            continue
        except OSError:
            if fd in connections:
                poller.unregister(fd)
                connections.pop(fd).close()
