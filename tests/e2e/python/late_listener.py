#!/usr/bin/python3
"""Binds 0.0.0.0:PORT, does what the words say, listens, prints its port, and answers every connection with "served".

    late_listener.py PORT [fork] [drop]      fork: a child goes on, and the parent waits for it; drop: becomes nobody
"""
import os
import socket
import sys

port, *steps = sys.argv[1:]
listener = socket.socket()
listener.bind(("0.0.0.0", int(port)))
for step in steps:
    if step == "fork":
        child = os.fork()
        if child != 0:
            listener.close()
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    elif step == "drop":
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
listener.listen(16)
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"served")
