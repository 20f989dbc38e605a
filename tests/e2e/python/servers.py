"""servers.py KIND PORT: one echo server per way in which Python programs serve. Prints "ready" when it listens.

Every server echoes a stream until its end and then closes. KIND: asyncio, threading, forking, poll, select, epoll, epoll-edge,
subprocess, passing, makefile, sendfile, tls CERTIFICATE.
"""
import array
import asyncio
import os
import select
import socket
import socketserver
import ssl
import subprocess
import sys
import threading

KIND, PORT = sys.argv[1], int(sys.argv[2])
BLOCK = 65536


def listener():
    sock = socket.create_server(("0.0.0.0", PORT), backlog=128)
    print("ready", flush=True)
    return sock


def echo(sock):
    with sock:
        while data := sock.recv(BLOCK):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(BLOCK):
            self.request.sendall(data)


def serve_asyncio():
    async def one(reader, writer):
        while data := await reader.read(BLOCK):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def serve():
        server = await asyncio.start_server(one, "0.0.0.0", PORT)
        print("ready", flush=True)
        async with server:
            await server.serve_forever()

    asyncio.run(serve())


def serve_with(base):
    class Server(base, socketserver.TCPServer):
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 128

    with Server(("0.0.0.0", PORT), Handler) as server:
        print("ready", flush=True)
        server.serve_forever()


class Poller:
    """One face for select, poll and epoll: wait() gives the descriptors that are ready to read or to write."""

    def __init__(self, kind):
        self.kind, self.reading, self.writing = kind, set(), set()
        self.edge = kind == "epoll-edge"
        if kind == "poll":
            self.object, self.read, self.write = select.poll(), select.POLLIN, select.POLLOUT
        elif kind.startswith("epoll"):
            self.object, self.read, self.write = select.epoll(), select.EPOLLIN, select.EPOLLOUT

    def watch(self, fd, read, write):
        if self.kind == "select":
            (self.reading.add if read else self.reading.discard)(fd)
            (self.writing.add if write else self.writing.discard)(fd)
            return
        mask = (self.read if read else 0) | (self.write if write else 0) | (select.EPOLLET if self.edge else 0)
        if fd in self.reading:
            self.object.modify(fd, mask)
        else:
            self.reading.add(fd)
            self.object.register(fd, mask)

    def forget(self, fd):
        if self.kind != "select":
            self.object.unregister(fd)
        self.reading.discard(fd)
        self.writing.discard(fd)

    def wait(self):
        if self.kind == "select":
            readable, writable, _ = select.select(self.reading, self.writing, [], 20)
            return {fd: (fd in readable, fd in writable) for fd in set(readable) | set(writable)}
        closed = select.POLLHUP | select.POLLERR
        return {fd: (bool(mask & (self.read | closed)), bool(mask & self.write)) for fd, mask in self.object.poll(20000)}


def serve_ready(kind):
    """One thread, many non-blocking connections, and a pipe whose bytes are counted along the way."""
    poller, connections, waiting, ended = Poller(kind), {}, {}, set()
    sock = listener()
    sock.setblocking(False)
    ticks, ticker = os.pipe()
    os.set_blocking(ticks, False)
    poller.watch(sock.fileno(), True, False)
    poller.watch(ticks, True, False)

    def tick():
        while True:
            os.write(ticker, b".")
            threading.Event().wait(0.01)

    threading.Thread(target=tick, daemon=True).start()
    counted = 0

    def finish(fd):
        poller.forget(fd)
        ended.discard(fd)
        waiting.pop(fd)
        connections.pop(fd).close()

    def pump(fd):
        """Reads and writes as much as goes; True when the connection is done."""
        while True:
            progress = False
            if fd not in ended and len(waiting[fd]) < 1 << 20:
                try:
                    data = connections[fd].recv(BLOCK)
                    waiting[fd] += data
                    progress = bool(data)
                    if not data:
                        ended.add(fd)
                except BlockingIOError:
                    pass
            if waiting[fd]:
                try:
                    del waiting[fd][:connections[fd].send(waiting[fd])]
                    progress = True
                except BlockingIOError:
                    pass
            if not progress:
                break
        return fd in ended and not waiting[fd]

    while True:
        for fd, (readable, _) in poller.wait().items():
            if fd == ticks:
                counted += len(os.read(ticks, 4096))
            elif fd == sock.fileno():
                while True:
                    try:
                        connection, _ = sock.accept()
                    except BlockingIOError:
                        break
                    connection.setblocking(False)
                    connections[connection.fileno()] = connection
                    waiting[connection.fileno()] = bytearray()
                    poller.watch(connection.fileno(), True, False)
            elif pump(fd):
                assert counted > 0 or readable
                finish(fd)
            else:
                poller.watch(fd, fd not in ended and len(waiting[fd]) < 1 << 20, bool(waiting[fd]))


def serve_subprocess():
    """Each connection is the standard input and output of a child, as inetd does it."""
    sock = listener()
    while True:
        connection, _ = sock.accept()
        code = "import os\nwhile d := os.read(0, 65536):\n  n = 0\n  while n < len(d): n += os.write(1, d[n:])"
        subprocess.Popen([sys.executable, "-c", code], stdin=connection, stdout=connection)
        connection.close()


def serve_passing():
    """Connections are handed to another process by SCM_RIGHTS, which serves them."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        while True:
            fds = array.array("i")
            _, control, _, _ = theirs.recvmsg(1, socket.CMSG_SPACE(fds.itemsize))
            if not control:
                os._exit(0)
            fds.frombytes(control[0][2][:fds.itemsize])
            threading.Thread(target=echo, args=(socket.socket(fileno=fds[0]),), daemon=True).start()
    theirs.close()
    sock = listener()
    while True:
        connection, _ = sock.accept()
        ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [connection.fileno()]))])
        connection.close()


def serve_makefile():
    def one(connection):
        with connection, connection.makefile("rb") as reader, connection.makefile("wb") as writer:
            while data := reader.read1(BLOCK):
                writer.write(data)
                writer.flush()

    sock = listener()
    while True:
        threading.Thread(target=one, args=(sock.accept()[0],), daemon=True).start()


def serve_sendfile():
    """What arrives is stored in a file, and sent back by sendfile when the client has finished."""
    def one(connection):
        with connection, open(f"/tmp/ferry-{os.getpid()}-{connection.fileno()}", "w+b") as store:
            os.unlink(store.name)
            while data := connection.recv(BLOCK):
                store.write(data)
            store.flush()
            store.seek(0)
            connection.sendfile(store)

    sock = listener()
    while True:
        threading.Thread(target=one, args=(sock.accept()[0],), daemon=True).start()


def serve_tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def one(connection):
        with context.wrap_socket(connection, server_side=True) as stream:
            while data := stream.recv(BLOCK):
                stream.sendall(data)

    sock = listener()
    while True:
        threading.Thread(target=one, args=(sock.accept()[0],), daemon=True).start()


{
    "asyncio": serve_asyncio,
    "threading": lambda: serve_with(socketserver.ThreadingMixIn),
    "forking": lambda: serve_with(socketserver.ForkingMixIn),
    "select": lambda: serve_ready("select"),
    "poll": lambda: serve_ready("poll"),
    "epoll": lambda: serve_ready("epoll"),
    "epoll-edge": lambda: serve_ready("epoll-edge"),
    "subprocess": serve_subprocess,
    "passing": serve_passing,
    "makefile": serve_makefile,
    "sendfile": serve_sendfile,
    "tls": lambda: serve_tls(sys.argv[3]),
}[KIND]()
