"""One-to-one SCTP sockets: what a program relies on, call by call. `serve PORT` and `connect HOST PORT`; the client prints good or WRONG."""
import errno
import os
import select
import socket
import struct
import sys

from keep import keep

SCTP_INITMSG, SCTP_NODELAY, SCTP_EVENTS, SCTP_STATUS, SCTP_GET_PEER_ADDRS = 2, 3, 11, 14, 108
SCTP_SNDRCV, MSG_EOR, MSG_NOTIFICATION = 1, 0x80, 0x8000
ASSOC_CHANGE, COMM_UP = 0x8001, 0


def new_socket():
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)


def subscribe(s, data_io=0, association=0):
    s.setsockopt(socket.IPPROTO_SCTP, SCTP_EVENTS, bytes([data_io, association] + [0] * 9))


def receive_message(s):
    """A whole message, its flags and the control messages of its first piece."""
    data, control = b"", None
    while True:
        piece, ancillary, flags, _ = s.recvmsg(200000, 256)
        control = ancillary if control is None else control
        data += piece
        if not piece or flags & MSG_EOR:
            return data, flags, control


def serve(port):
    listener = new_socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    listener.listen(16)
    print("ready", flush=True)
    while True:
        peer, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            subscribe(peer, data_io=1)
            while True:
                data, _, control = receive_message(peer)
                if not data:
                    os._exit(0)
                if data == b"abort":
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    peer.close()
                    os._exit(0)
                peer.sendmsg([data], [(level, kind, value) for level, kind, value in control if kind == SCTP_SNDRCV])
        peer.close()


class Promises:
    def __init__(self, host, port):
        self.address = (host, port)

    def connected(self):
        s = new_socket()
        s.settimeout(20)
        s.connect(self.address)
        return s

    def names_and_types(self):
        s = self.connected()
        assert s.getpeername() == self.address and s.getsockname()[1] > 0
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL) == socket.IPPROTO_SCTP

    def bounds_of_messages(self):
        s = self.connected()
        for size in (1, 2, 1400, 1500, 5000, 65536, 150000):
            s.sendall(bytes([size % 251]) * size)
        for size in (1, 2, 1400, 1500, 5000, 65536, 150000):
            data, flags, _ = receive_message(s)
            assert data == bytes([size % 251]) * size and flags & MSG_EOR, (size, len(data), hex(flags))

    def a_message_in_pieces(self):
        s = self.connected()
        s.sendall(b"0123456789")
        first, _, flags, _ = s.recvmsg(4)
        assert first == b"0123" and not flags & MSG_EOR
        rest, _, flags, _ = s.recvmsg(100)
        assert rest == b"456789" and flags & MSG_EOR

    def streams_and_payload_protocols(self):
        s = self.connected()
        subscribe(s, data_io=1)
        info = struct.pack("=HHHxxIIIIIi", 3, 0, 0, socket.htonl(0xabcd), 0, 0, 0, 0, 0)
        s.sendmsg([b"on stream three"], [(socket.IPPROTO_SCTP, SCTP_SNDRCV, info)])
        data, _, control = receive_message(s)
        assert data == b"on stream three"
        (level, kind, value), = control
        assert (level, kind) == (socket.IPPROTO_SCTP, SCTP_SNDRCV)
        stream, _, _, protocol = struct.unpack_from("=HHHxxI", value)
        assert (stream, socket.ntohl(protocol)) == (3, 0xabcd), (stream, protocol)

    def notifications(self):
        s = new_socket()
        subscribe(s, association=1)
        s.settimeout(20)
        s.connect(self.address)
        data, _, flags, _ = s.recvmsg(1000)
        kind, _, _, state = struct.unpack_from("=HHIH", data)
        assert flags & MSG_NOTIFICATION and (kind, state) == (ASSOC_CHANGE, COMM_UP), (hex(flags), hex(kind), state)

    def options(self):
        s = new_socket()
        s.setsockopt(socket.IPPROTO_SCTP, SCTP_INITMSG, struct.pack("=HHHH", 7, 5, 0, 0))
        assert s.getsockopt(socket.IPPROTO_SCTP, SCTP_INITMSG, 8)[:4] == struct.pack("=HH", 7, 5)
        s.setsockopt(socket.IPPROTO_SCTP, SCTP_NODELAY, 1)
        assert s.getsockopt(socket.IPPROTO_SCTP, SCTP_NODELAY) == 1
        s.settimeout(20)
        s.connect(self.address)
        status = s.getsockopt(socket.IPPROTO_SCTP, SCTP_STATUS, 176)
        assert struct.unpack_from("=i", status, 4)[0] == 4, status  # SCTP_ESTABLISHED
        assert struct.unpack_from("=HH", status, 16)[1] == 7  # streams outwards, as asked for
        peers = s.getsockopt(socket.IPPROTO_SCTP, SCTP_GET_PEER_ADDRS, 200)
        assert socket.inet_ntoa(peers[12:16]) == self.address[0], peers

    def readiness(self):
        s = new_socket()
        s.setblocking(False)
        assert s.connect_ex(self.address) in (0, errno.EINPROGRESS)  # to ourselves it is there at once
        poller = select.epoll()
        poller.register(s, select.EPOLLOUT)
        assert poller.poll(20), "connected"
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        poller.modify(s, select.EPOLLIN)
        assert not poller.poll(0)
        s.send(b"wake me")
        assert poller.poll(20), "readable"
        assert s.recv(100) == b"wake me"
        try:
            s.recv(1)
            raise AssertionError("nothing is there")
        except BlockingIOError:
            pass

    def a_full_buffer_waits(self):
        s = self.connected()
        s.setblocking(False)
        sent = 0
        try:
            for _ in range(1000):
                s.send(bytes(60000))
                sent += 1
        except BlockingIOError:
            pass
        assert 2 < sent < 1000, sent
        s.settimeout(20)
        for _ in range(sent):
            assert len(receive_message(s)[0]) == 60000

    def shutdown_ends_both(self):
        s = self.connected()
        s.sendall(b"last")
        assert receive_message(s)[0] == b"last"
        s.shutdown(socket.SHUT_WR)
        assert s.recv(10) == b""
        try:
            s.send(b"more")
            raise AssertionError("sent after the end")
        except BrokenPipeError:
            pass

    def refused_and_reset(self):
        s = new_socket()
        s.settimeout(20)
        for _ in range(2):  # by the same socket
            assert s.connect_ex((self.address[0], 9)) == errno.ECONNREFUSED
            try:
                s.sendto(b"x", (self.address[0], 9))
                raise AssertionError("sent to nobody")
            except ConnectionRefusedError:
                pass
        s.connect(self.address)
        s.sendall(b"after all")
        assert receive_message(s)[0] == b"after all"
        s.close()
        s = self.connected()
        s.sendall(b"abort")
        try:
            data = s.recv(10)
            raise AssertionError(f"got {data!r}")
        except ConnectionResetError:
            pass

    def many_at_once(self):
        all_of_them = [self.connected() for _ in range(20)]
        for i, s in enumerate(all_of_them):
            s.sendall(b"number %d" % i)
        for i, s in enumerate(all_of_them):
            assert receive_message(s)[0] == b"number %d" % i


def connect(host, port):
    promises = Promises(host, port)
    keep([getattr(promises, n) for n in vars(Promises) if not n.startswith("_") and n != "connected"])


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        connect(sys.argv[2], int(sys.argv[3]))
