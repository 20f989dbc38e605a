"""promises.py serve PORT | connect HOST PORT: what the sockets API promises, checked one by one from the client's side.

The server answers lines: "echo N" + N bytes, "close", "reset", "urgent", "slow", "udp" (its datagram port is PORT + 1).
"""
import errno
import os
import select
import signal
import socket
import struct
import sys
import threading
import time

from keep import keep

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


# --- server ---

def serve_one(sock):
    with sock, sock.makefile("rb") as reader:
        while line := reader.readline():
            word, *rest = line.split()
            if word == b"echo":
                sock.sendall(reader.read(int(rest[0])))
            elif word == b"reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            elif word == b"urgent":
                sock.sendall(b"abc")
                sock.send(b"!", socket.MSG_OOB)
                sock.sendall(b"def")
            elif word == b"slow":
                for part in (b"one", b"two", b"three"):
                    time.sleep(0.05)
                    sock.sendall(part)
            elif word == b"close":
                return


def serve_datagrams(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", port))
        while True:
            data, peer = sock.recvfrom(65535)
            sock.sendto(data[::-1], peer)


def serve(port):
    threading.Thread(target=serve_datagrams, args=(port + 1,), daemon=True).start()
    with socket.create_server(("0.0.0.0", port), backlog=64) as listener:
        print("ready", flush=True)
        while True:
            threading.Thread(target=serve_one, args=(listener.accept()[0],), daemon=True).start()


# --- client ---

def connect():
    """A blocking socket: with a time-out of its own, Python would make it non-blocking. alarm() bounds the whole."""
    return socket.create_connection((HOST, PORT))


def expect_errno(number, function, *words):
    try:
        function(*words)
    except OSError as error:
        assert error.errno == number, f"{errno.errorcode.get(error.errno)} instead of {errno.errorcode[number]}"
        return
    raise AssertionError(f"no {errno.errorcode[number]}")


@check
def names_of_both_ends():
    with connect() as sock:
        assert sock.getpeername() == (HOST, PORT)
        local = sock.getsockname()
        assert local[0].count(".") == 3 and local[1] > 1023, local


@check
def options_are_kept():
    with connect() as sock:
        for level, name, value in ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                                   (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77), (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 7),
                                   (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3), (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 9000),
                                   (socket.IPPROTO_IP, socket.IP_TOS, 0x10), (socket.IPPROTO_IP, socket.IP_TTL, 33)):
            sock.setsockopt(level, name, value)
            assert sock.getsockopt(level, name) == value, (level, name, sock.getsockopt(level, name))
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == socket.AF_INET
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL) == socket.IPPROTO_TCP
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > 4096
        assert 500 < sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 65483
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50000)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 100000  # doubled: socket(7)
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        assert info[0] == 1, f"TCP_INFO state {info[0]}"
        expect_errno(errno.ENOPROTOOPT, sock.setsockopt, socket.IPPROTO_TCP, 9999, 1)


@check
def peek_waitall_dontwait():
    with connect() as sock:
        expect_errno(errno.EAGAIN, sock.recv, 10, socket.MSG_DONTWAIT)
        sock.sendall(b"slow\n")
        assert sock.recv(11, socket.MSG_WAITALL) == b"onetwothree"
        sock.sendall(b"echo 5\nhello")
        assert sock.recv(3, socket.MSG_PEEK) == b"hel"
        assert sock.recv(100) == b"hello"


@check
def urgent_byte():
    with connect() as sock:
        sock.sendall(b"urgent\n")
        _, _, urgent = select.select([], [], [sock], 10)
        assert urgent, "select does not tell urgent data"
        assert sock.recv(1, socket.MSG_OOB) == b"!"
        got = b""
        while len(got) < 6:
            got += sock.recv(100)
        assert got == b"abcdef", got  # the urgent byte is not in the stream


@check
def reset_is_told():
    with connect() as sock:
        sock.sendall(b"reset\n")
        expect_errno(errno.ECONNRESET, sock.recv, 1)
        expect_errno(errno.EPIPE, sock.send, b"x")


@check
def end_of_file_and_sigpipe():
    with connect() as sock:
        sock.sendall(b"close\n")
        assert sock.recv(1) == b""
        signals = []
        signal.signal(signal.SIGPIPE, lambda *_: signals.append(1))
        deadline = time.monotonic() + 10
        while not signals and time.monotonic() < deadline:
            try:
                sock.send(b"x")
                time.sleep(0.01)
            except OSError as error:
                assert error.errno in (errno.EPIPE, errno.ECONNRESET), error
        assert signals, "no SIGPIPE"
        time.sleep(0.01)  # Python runs handlers a little later than they are due
        signals.clear()
        expect_errno(errno.EPIPE, sock.send, b"x", socket.MSG_NOSIGNAL)
        assert not signals, "SIGPIPE in spite of MSG_NOSIGNAL"
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


@check
def refused_and_states():
    with socket.socket() as sock:
        sock.settimeout(10)
        expect_errno(errno.ECONNREFUSED, sock.connect, (HOST, 1))
    with socket.socket() as sock:
        expect_errno(errno.ENOTCONN, sock.getpeername)
        expect_errno(errno.ENOTCONN, sock.recv, 1)
        expect_errno(errno.EPIPE, sock.send, b"x", socket.MSG_NOSIGNAL)
        expect_errno(errno.EINVAL, sock.accept)
    with connect() as sock:
        expect_errno(errno.EISCONN, sock.connect, (HOST, PORT))
    with socket.socket() as one, socket.socket() as two:
        one.bind(("0.0.0.0", 0))
        one.listen(1)
        expect_errno(errno.EADDRINUSE, two.bind, ("0.0.0.0", one.getsockname()[1]))


@check
def nonblocking_connect():
    with socket.socket() as sock:
        sock.setblocking(False)
        assert sock.connect_ex((HOST, PORT)) in (errno.EINPROGRESS, 0)
        _, writable, _ = select.select([], [sock], [], 10)
        assert writable and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        assert sock.getpeername() == (HOST, PORT)


@check
def receive_time_limit():
    with connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 200000))
        before = time.monotonic()
        expect_errno(errno.EAGAIN, sock.recv, 1)
        assert time.monotonic() - before > 0.15, "returned too early"


@check
def vectors_and_messages():
    with connect() as sock:
        assert sock.sendmsg([b"echo ", b"6\n", b"abc", b"def"]) == 13
        first, second = bytearray(2), bytearray(4)
        got, _, flags, _ = sock.recvmsg_into([first, second], 0, socket.MSG_WAITALL)
        assert got == 6 and bytes(first + second) == b"abcdef" and not flags & socket.MSG_TRUNC


@check
def dup_outlives_its_original():
    sock = connect()
    twin = sock.dup()
    sock.close()
    with twin:
        twin.sendall(b"echo 2\nok")
        assert twin.recv(2, socket.MSG_WAITALL) == b"ok"


@check
def fork_shares_the_connection():
    with connect() as sock:
        child = os.fork()
        if child == 0:
            sock.sendall(b"echo 5\nchild")
            os._exit(0 if sock.recv(5, socket.MSG_WAITALL) == b"child" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child's turn"
        sock.sendall(b"echo 6\nparent")
        assert sock.recv(6, socket.MSG_WAITALL) == b"parent"


def channels():
    """The inodes of the channels that this process has mapped; none on the kernel's stack."""
    with open("/proc/self/maps") as lines:
        return {line.split()[4] for line in lines if "ferry-channel" in line}


@check
def a_forked_child_sees_nothing_of_the_channel():
    with connect() as sock:
        parents = channels()
        child = os.fork()
        if child == 0:
            clean = not channels()
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            with connect() as own:  # as another user, over a channel of its own
                own.sendall(b"echo 3\nown")
                works = own.recv(3, socket.MSG_WAITALL) == b"own"
            separate = not channels() & parents and bool(channels()) == bool(parents)
            os._exit(0 if clean and works and separate else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child sees memory of the parent's channel"
        sock.sendall(b"echo 6\nparent")
        assert sock.recv(6, socket.MSG_WAITALL) == b"parent"
        assert channels() == parents


@check
def datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        for size in (0, 1, 1472, 1473, 9000, 60000):
            data = os.urandom(size)
            sock.sendto(data, (HOST, PORT + 1))
            got, peer = sock.recvfrom(65535)
            assert got == data[::-1] and peer == (HOST, PORT + 1), f"a datagram of {size} bytes"
        sock.connect((HOST, PORT + 1))
        sock.send(b"0123456789")
        got, _, flags, _ = sock.recvmsg(4)
        assert got == b"9876" and flags & socket.MSG_TRUNC, (got, flags)
        sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_PKTINFO", 8), 1)
        sock.send(b"x")
        _, control, _, _ = sock.recvmsg(4, 200)
        packet_info = [c for c in control if c[:2] == (socket.IPPROTO_IP, 8)]
        assert packet_info, "no IP_PKTINFO"
        destination = socket.inet_ntoa(packet_info[0][2][8:12])
        assert destination == sock.getsockname()[0], destination
        expect_errno(errno.EMSGSIZE, sock.send, bytes(65508))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((HOST, 9))
        sock.send(b"x")
        expect_errno(errno.ECONNREFUSED, sock.recv, 1)


@check
def mapped_addresses_in_v6_sockets():
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.settimeout(10)
        sock.connect(("::ffff:" + HOST, PORT))
        assert sock.getpeername()[:2] == ("::ffff:" + HOST, PORT), sock.getpeername()
        sock.sendall(b"echo 3\nsix")
        assert sock.recv(3, socket.MSG_WAITALL) == b"six"


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    HOST, PORT = sys.argv[2], int(sys.argv[3])
    signal.alarm(35)
    keep(CHECKS)
