"""victim.py HOST PORT: sockets of all kinds, threads and a forked child that shares them, busy until killed."""
import os
import socket
import sys
import threading

HOST, PORT = sys.argv[1], int(sys.argv[2])


def talk(sock):
    try:
        while True:
            sock.sendall(b"x" * 3000 + b"\n")
            sock.recv(65536)
    except OSError:
        pass


shared = [socket.create_connection((HOST, PORT)) for _ in range(4)]
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("0.0.0.0", 0))
listener = socket.create_server(("0.0.0.0", 0))
child = os.fork()
print(child if child else os.getpid(), flush=True)
for each in shared[:2] if child else shared[2:]:
    threading.Thread(target=talk, args=(each,), daemon=True).start()
while True:
    with socket.create_connection((HOST, PORT)) as mine:
        mine.sendall(b"hello\n")
        mine.recv(100)
        datagrams.sendto(b"nobody", (HOST, 9))
