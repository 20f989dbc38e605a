"""memcached_client.py HOST PORT: eight threads set and get values of many sizes; every answer is compared."""
import random
import socket
import sys
import threading

HOST, PORT = sys.argv[1], int(sys.argv[2])
problems = []


def work(number):
    dice = random.Random(number)
    try:
        with socket.create_connection((HOST, PORT), timeout=20) as connection:
            stream = connection.makefile("rwb")
            for turn in range(60):
                key = f"k{number}-{turn}".encode()
                value = dice.randbytes(dice.choice([1, 100, 1500, 20000, 300000]))
                stream.write(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
                stream.flush()
                assert stream.readline() == b"STORED\r\n", "set"
                stream.write(b"get %s\r\n" % key)
                stream.flush()
                header = stream.readline().split()
                assert header[0] == b"VALUE" and int(header[3]) == len(value), header
                assert stream.read(len(value) + 2) == value + b"\r\n", "another value came back"
                assert stream.readline() == b"END\r\n", "end"
    except Exception as error:  # pylint: disable=broad-except
        problems.append(f"thread {number}: {error!r}")


threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if problems:
    sys.exit("\n".join(problems))
