"""echo_client.py KIND HOST PORT [CERTIFICATE]: sends streams to an echo server, several at once, and compares what comes back.

KIND: threading, asyncio, makefile, tls, half-close (the server answers only after our end).
"""
import asyncio
import random
import socket
import ssl
import sys
import threading

KIND, HOST, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
STREAMS, SIZES = 8, (1, 1000, 70_000, 2_000_000)
problems = []


def pattern(number):
    dice = random.Random(number)
    return [dice.randbytes(size) for size in SIZES]


def connect():
    sock = socket.create_connection((HOST, PORT), timeout=30)
    if KIND == "tls":
        context = ssl.create_default_context(cafile=sys.argv[4])
        context.check_hostname = False
        return context.wrap_socket(sock)
    return sock


def exchange(sock, data, after_end=False):
    def send():
        sock.sendall(data)
        if after_end:
            sock.shutdown(socket.SHUT_WR)

    # TLS objects may not be read and written by two threads at once; blocks smaller than all buffers go in turn.
    if KIND == "tls":
        got = b""
        for start in range(0, len(data), 16384):
            part = data[start:start + 16384]
            sock.sendall(part)
            while len(part) > 0 and len(got) < start + len(part):
                got += sock.recv(65536)
        return got
    sender = threading.Thread(target=send)
    sender.start()
    got = bytearray()
    while len(got) < len(data):
        part = sock.recv(1 << 18)
        if not part:
            break
        got += part
    sender.join()
    return bytes(got)


def one_stream(number):
    try:
        if KIND == "half-close":
            data = b"".join(pattern(number))
            with connect() as sock:
                assert exchange(sock, data, after_end=True) == data, "another stream came back"
                assert sock.recv(1) == b"", "bytes after the end"
            return
        with connect() as sock:
            if KIND == "makefile":
                with sock.makefile("rwb") as stream:
                    for data in (part[:40000] for part in pattern(number)):
                        stream.write(data)
                        stream.flush()
                        assert stream.read(len(data)) == data, "another stream came back"
                return
            for data in pattern(number):
                assert exchange(sock, data) == data, "another stream came back"
            if KIND != "tls":
                sock.shutdown(socket.SHUT_WR)
                assert sock.recv(1) == b"", "bytes after the end"
    except Exception as error:  # pylint: disable=broad-except
        problems.append(f"stream {number}: {error!r}")


async def one_async(number):
    try:
        reader, writer = await asyncio.open_connection(HOST, PORT)
        for data in pattern(number):
            writer.write(data)
            answer, _ = await asyncio.wait_for(asyncio.gather(reader.readexactly(len(data)), writer.drain()), 30)
            assert answer == data, "another stream came back"
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 30) == b"", "bytes after the end"
        writer.close()
        await writer.wait_closed()
    except Exception as error:  # pylint: disable=broad-except
        problems.append(f"stream {number}: {error!r}")


async def all_async():
    await asyncio.gather(*(one_async(number) for number in range(STREAMS)))


if KIND == "asyncio":
    asyncio.run(all_async())
else:
    threads = [threading.Thread(target=one_stream, args=(number,)) for number in range(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
if problems:
    sys.exit("\n".join(problems))
