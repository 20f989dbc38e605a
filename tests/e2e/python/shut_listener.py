#!/usr/bin/python3
"""Listens on 0.0.0.0:PORT, is shut down while threads wait in accept, poll and epoll, and listens again; so does its twin on 127.0.0.1.

    shut_listener.py PORT
"""
import errno
import select
import socket
import sys
import threading
import time

port = int(sys.argv[1])


def connect():
    try:
        return socket.create_connection(("127.0.0.1", port), 5)
    except OSError as error:
        return errno.errorcode[error.errno]


def accept(listener, told):
    try:
        listener.accept()
    except OSError as error:
        told.append(f"accept: {errno.errorcode[error.errno]}")


def poll(listener, told):
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    told.append(f"poll: {[events for _, events in poller.poll(5000)]}")


def watch(listener, told):
    with select.epoll() as poller:
        poller.register(listener, select.EPOLLIN)
        told.append(f"epoll: {[events for _, events in poller.poll(5)]}")


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("0.0.0.0", port))
for how in (socket.SHUT_RD, socket.SHUT_RDWR):
    listener.listen(16)
    told = []
    threads = [threading.Thread(target=f, args=(listener, told)) for f in (accept, poll, watch)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    listener.shutdown(how)
    for thread in threads:
        thread.join()
    print(*sorted(told), sep=", ")
    print("connect:", connect())
    listener.listen(16)
    with connect() as peer, listener.accept()[0] as accepted:
        accepted.sendall(b"served")
        print(peer.recv(16).decode())
    with connect() as peer:
        listener.shutdown(how)
        peer.settimeout(5)
        try:
            print(peer.recv(16))
        except OSError as error:
            print("one that waited:", errno.errorcode[error.errno])
