"""counting_server.py PORT: reads lines that count from 0; answers with how many there were at the end, or says which was wrong."""
import socket
import sys
import threading


def serve(sock):
    with sock, sock.makefile("rb") as reader:
        expected = 0
        for line in reader:
            if line != b"%d\n" % expected:
                print(f"line {expected} is {line!r}", flush=True)
                return
            expected += 1
        try:
            sock.sendall(b"%d" % expected)
        except OSError:
            pass


with socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=64) as listener:
    print("ready", flush=True)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
