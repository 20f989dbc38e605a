"""shared_listener.py serve PORT PROGRAM WORD…: starts PROGRAM WORD… FD with the listener inherited as FD, and answers everybody who comes to it itself;
prints "ready", the number that each connection that it has sent, and "over" when PROGRAM has ended. Exit status 1 if it ended with another status
than 0.
shared_listener.py connect HOST PORT SECONDS: connects again and again, sends a number of its own and wants it back many times. Prints how many
connections were served and how many were not, and the numbers of those that brought other bytes: PROGRAM may have taken all of these.
"""
import os
import select
import socket
import subprocess
import sys
import threading
import time

ANSWERS = 3000
PATIENCE = 1  # seconds until a connection counts as lost


def serve(port, words):
    listener = socket.create_server(("0.0.0.0", port), backlog=64)
    program = subprocess.Popen([*words, str(listener.fileno())], pass_fds=[listener.fileno()])
    print("ready", flush=True)
    threading.Thread(target=wait_for, args=(program,), daemon=True).start()
    listener.setblocking(False)
    while True:
        select.select([listener], [], [])
        try:
            sock = listener.accept()[0]
        except BlockingIOError:  # somebody else has it
            continue
        threading.Thread(target=answer, args=(sock,), daemon=True).start()


def wait_for(program):
    if program.wait() != 0:
        print(f"the program ended with {program.returncode}", file=sys.stderr, flush=True)
        os._exit(1)
    print("over", flush=True)


def answer(sock):
    with sock:
        sock.settimeout(PATIENCE)
        try:
            word = sock.recv(8, socket.MSG_WAITALL)
            os.write(1, b"%d\n" % int.from_bytes(word, "big"))  # whole lines: print() of two threads makes 8889 of 88 and 89
            sock.sendall(word * ANSWERS)
        except OSError:  # its peer has given up
            pass


def is_served(address, number, wrong):
    """False: nobody answered, or not all. Other bytes than the right ones put it among the `wrong`."""
    word = number.to_bytes(8, "big")
    got = bytearray()
    try:
        with socket.create_connection(address, timeout=PATIENCE) as sock:
            sock.sendall(word)
            while data := sock.recv(65536):
                got += data
    except OSError:
        pass
    if got != (word * ANSWERS)[:len(got)]:
        wrong.append(number)
    return got == word * ANSWERS


def connect(address, seconds):
    end, served, lost, lock = time.monotonic() + seconds, 0, 0, threading.Lock()
    numbers, wrong = iter(range(1, 1 << 30)), []

    def work():
        nonlocal served, lost
        while time.monotonic() < end:
            with lock:
                number = next(numbers)
            good = is_served(address, number, wrong)
            with lock:
                served, lost = served + good, lost + (not good)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(served, lost, *wrong)


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]), sys.argv[3:])
else:
    connect((sys.argv[2], int(sys.argv[3])), float(sys.argv[4]))
