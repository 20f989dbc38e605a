"""arrays.py serve PORT CONNECTIONS COUNT [whole] | send HOST PORT WORKERS COUNT [whole]: numpy arrays of 64 MB, COUNT a connection, each answered
by twice itself.

WORKERS 0: the program itself sends. Else so many processes of multiprocessing do at once, arrays that their parent made before it forked.
whole: receives an array by one call that waits for all of it (MSG_WAITALL), else by as many as it takes.
"""
import multiprocessing
import socket
import sys

import numpy

SIZE = 8_000_000  # numbers of 8 bytes
WHOLE = sys.argv[-1] == "whole"


def receive(sock):
    array = numpy.empty(SIZE, dtype=numpy.float64)
    view, filled = memoryview(array).cast("B"), 0
    while filled < len(view):
        got = sock.recv_into(view[filled:], 0, socket.MSG_WAITALL if WHOLE else 0)
        if got == 0:
            sys.exit(f"the stream ended after {filled} bytes")
        filled += got
    return array


def talk(sock, count):
    for _ in range(count):
        array = receive(sock)
        array *= 2
        sock.sendall(memoryview(array).cast("B"))
        array.fill(-1)


def serve(port, connections, count):
    with socket.create_server(("0.0.0.0", port)) as listener:
        print("ready", flush=True)
        processes = []
        for _ in range(connections):
            sock, _ = listener.accept()
            processes.append(multiprocessing.Process(target=talk, args=(sock, count)))
            processes[-1].start()
            sock.close()
        for process in processes:
            process.join()
            if process.exitcode != 0:
                sys.exit(process.exitcode)


def exchange(host, port, count, arrays):
    with socket.create_connection((host, port), timeout=60) as sock:
        if WHOLE:
            sock.settimeout(None)  # a time-out of Python's makes the socket one that does not block
        for turn in range(count):
            array = arrays[turn % len(arrays)] + turn
            wanted = array * 2
            sock.sendall(memoryview(array).cast("B"))
            array += 1
            if not numpy.array_equal(receive(sock), wanted):
                sys.exit(f"array {turn} came back otherwise")


def send(host, port, workers, count):
    arrays = [numpy.arange(SIZE, dtype=numpy.float64) + 0.5 * n for n in range(2)]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=exchange, args=(host, port, count, arrays)) for _ in range(workers)]
    for process in processes:
        process.start()
    for array in arrays:  # the children have their own
        array.fill(-1)
    for process in processes:
        process.join()
    if any(process.exitcode != 0 for process in processes):
        sys.exit("a worker failed")


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
elif sys.argv[4] == "0":
    exchange(sys.argv[2], int(sys.argv[3]), int(sys.argv[5]), [numpy.arange(SIZE, dtype=numpy.float64)])
else:
    send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
