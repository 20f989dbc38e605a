"""One-to-many SCTP sockets and libsctp's functions: what a program relies on, call by call. `serve PORT` and `connect HOST PORT`; the client
prints good or WRONG. Associations are echoed to until the client says otherwise by a word (see Echo)."""
import ctypes
import errno
import os
import select
import signal
import socket
import struct
import sys
import threading

from keep import keep
from one_to_many import (ABORT, ASSOCINFO, ASSOC_CHANGE, ASSOC_LIST, ASSOC_NUMBER, AUTOCLOSE, CANT_START, COMM_LOST, COMM_UP, CONTEXT, EOF,
                         ESTABLISHED, EVENT, MSG_EOR, MSG_NOTIFICATION, PATH_INFO, PEER_PARAMETERS, RCVINFO, RECVRCVINFO, RTOINFO, SCTP,
                         SEND_FAILED, SHUTDOWN, SHUTDOWN_COMP, SNDINFO, SNDRCV, STATUS, UNORDERED, Received, ask, connectx, data_of, fails_with,
                         lib, sndrcv, socket_of, socket_of_patience, subscribe, wait_for)


class Echo:
    """Answers every association on one socket, or on a socket of its own if asked for."""
    def __init__(self, port):
        self.s = socket.socket(socket.AF_INET, socket.SOCK_SEQPACKET, SCTP)
        subscribe(self.s)
        self.s.bind(("", port))
        self.s.listen(16)
        print("ready", flush=True)

    def run(self):
        while True:
            got = Received(self.s)
            if got.flags & MSG_NOTIFICATION:
                continue
            if got.data == b"end":
                self.s.sendmsg([], sndrcv(flags=EOF, association=got.association))
            elif got.data == b"abort":
                self.s.sendmsg([], sndrcv(flags=ABORT, association=got.association))
            elif got.data == b"peel":
                self.peel(got.association)
            else:
                self.s.sendmsg([got.data], sndrcv(got.stream, got.sinfo_flags & UNORDERED, got.protocol, got.association))

    def peel(self, association):
        fd = lib.sctp_peeloff(self.s.fileno(), association)
        assert fd >= 0, os.strerror(ctypes.get_errno())
        peeled = socket.socket(fileno=fd)
        peeled.sendall(b"peeled")

        def answer():
            while True:
                got = Received(peeled)
                if not got.data:
                    return peeled.close()
                if not got.flags & MSG_NOTIFICATION:
                    peeled.sendall(b"apart: " + got.data)
        threading.Thread(target=answer, daemon=True).start()


class Promises:
    def __init__(self, host, port):
        self.address = (host, port)

    def _greeted(self, s, word=b"hello"):
        s.sendto(word, self.address)
        got = data_of(s)
        assert got.data == word, got.data
        return got

    def _subscribed(self):
        s = socket_of()
        subscribe(s)
        return s

    def types(self):
        s = socket_of_patience()
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_SEQPACKET
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL) == SCTP
        fails_with(errno.EOPNOTSUPP, s.accept)
        fails_with(errno.ENOTCONN, s.getpeername)

    def a_message_begins_an_association(self):
        s = self._subscribed()
        s.sendto(b"first", self.address)
        assert s.getsockname()[1] > 0
        up = Received(s)
        state, _, association = up.change()
        assert state == COMM_UP and association > 2 or association > 0, (state, association)
        assert up.flags & MSG_NOTIFICATION and up.sender == self.address
        got = data_of(s)
        assert (got.data, got.sender, got.association) == (b"first", self.address, association), vars(got)
        s.sendto(b"second", self.address)  # the same association
        assert data_of(s).association == association

    def by_number(self):
        s = self._subscribed()
        association = self._greeted(s).association
        s.sendmsg([b"by SNDRCV"], sndrcv(3, 0, 77, association))
        got = data_of(s)
        assert (got.data, got.stream, got.protocol) == (b"by SNDRCV", 3, 77), vars(got)
        s.sendmsg([b"by SNDINFO"], [(SCTP, SNDINFO, struct.pack("=HHIIi", 2, 0, socket.htonl(5), 0, association))])
        got = data_of(s)
        assert (got.data, got.stream, got.protocol) == (b"by SNDINFO", 2, 5), vars(got)

    def received_with_rcvinfo(self):
        s = socket_of()
        s.setsockopt(SCTP, RECVRCVINFO, 1)
        got = self._greeted(s)
        assert got.control == [RCVINFO] and got.association != 0, vars(got)

    def to_nobody(self):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        s = self._subscribed()
        fails_with(errno.EPIPE, s.send, b"x")
        for number in (0, 1, 2, 0x7fffffff, -1):
            s.sendmsg([b"x"], sndrcv(association=number))  # goes nowhere
        self._greeted(s)

    def _told(self, s, number):
        for _ in range(2000):
            if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == number:
                return
            select.select([], [], [], 0.01)
        raise AssertionError(f"nobody was told of {errno.errorcode[number]}")

    def nonsense_in_control_messages(self):
        s = self._subscribed()
        association = self._greeted(s).association
        fails_with(errno.EINVAL, s.sendmsg, [b"x"], [(SCTP, SNDRCV, bytes(200))])
        for nonsense in ((SNDRCV, bytes(3)), (99, bytes(32)), (SNDRCV, struct.pack("=HHHxxIIIIIi", 60000, 0, 0, 0, 0, 0, 0, 0, association)),
                         (SNDRCV, struct.pack("=HHHxxIIIIIi", 0, 0, 0xffff, 0, 0, 0, 0, 0, association)), (SNDINFO, b"\xff" * 16)):
            s.sendmsg([b"x"], [(SCTP, *nonsense)])
            self._told(s, errno.EINVAL)
        self._greeted(s, b"still there")

    def sizes(self):
        s = self._subscribed()
        for size in (1, 1400, 1500, 65536, 150000):
            s.sendto(bytes([size % 251]) * size, self.address)
        for size in (1, 1400, 1500, 65536, 150000):
            assert data_of(s).data == bytes([size % 251]) * size

    def status(self):
        s = self._subscribed()
        association = self._greeted(s).association
        number = struct.pack("=i", association)
        status = ask(s, STATUS, number)
        assert struct.unpack_from("=ii", status) == (association, ESTABLISHED), status
        info = ask(s, PATH_INFO, struct.pack("=iH", 0, socket.AF_INET) + struct.pack("!H", self.address[1]) + socket.inet_aton(self.address[0]))
        assert struct.unpack_from("=i", info)[0] == association, info
        assert struct.unpack("=I", ask(s, ASSOC_NUMBER, size=4))[0] == 1
        assert struct.unpack("=Ii", ask(s, ASSOC_LIST))[:2] == (1, association)
        for name in (STATUS, PATH_INFO, RTOINFO, ASSOCINFO):
            fails_with(errno.EINVAL, ask, s, name, struct.pack("=i", 0x7ffffff0))
        fails_with(errno.EINVAL, ask, s, STATUS, struct.pack("=i", 0))

    def options(self):
        s = self._subscribed()
        s.setsockopt(SCTP, RTOINFO, struct.pack("=iIII", 0, 2000, 30000, 500))
        association = struct.pack("=i", self._greeted(s).association)
        assert struct.unpack("=III", ask(s, RTOINFO, association)[4:16]) == (2000, 30000, 500)
        s.setsockopt(SCTP, ASSOCINFO, association + struct.pack("=HHIII", 7, 0, 0, 0, 0))
        parameters = struct.unpack("=HHIII", ask(s, ASSOCINFO, association)[4:20])
        assert parameters[:2] == (7, 1), parameters
        address = struct.pack("=H", socket.AF_INET) + struct.pack("!H", self.address[1]) + socket.inet_aton(self.address[0]) + bytes(120)
        s.setsockopt(SCTP, PEER_PARAMETERS, association + address + struct.pack("=IHIIIIB", 4000, 3, 0, 0, 1, 0, 0))
        got = ask(s, PEER_PARAMETERS, association + address, 155)
        assert struct.unpack_from("=IH", got, 132) == (4000, 3), got[128:]
        s.setsockopt(SCTP, CONTEXT, association + struct.pack("=I", 9))
        s.sendto(b"context", self.address)
        assert data_of(s).data == b"context"

    def subscriptions_of_one_association(self):
        s = self._subscribed()
        association = self._greeted(s).association
        s.setsockopt(SCTP, EVENT, struct.pack("=iHBx", association, SHUTDOWN, 1))
        fails_with(errno.EINVAL, s.setsockopt, SCTP, EVENT, struct.pack("=iHBx", 0x7ffffff0, SHUTDOWN, 1))
        fails_with(errno.EINVAL, s.setsockopt, SCTP, EVENT, struct.pack("=iHBx", association, 5, 1))
        s.sendto(b"end", self.address)
        assert Received(s).kind == SHUTDOWN
        assert Received(s).change()[0] == SHUTDOWN_COMP

    def ends_and_begins_again(self):
        s = self._subscribed()
        first = self._greeted(s).association
        s.sendmsg([], sndrcv(flags=EOF, association=first))
        state, _, association = Received(s).change()
        assert (state, association) == (SHUTDOWN_COMP, first)
        second = self._greeted(s).association
        s.sendto(b"abort", self.address)
        assert wait_for(s, COMM_LOST).change()[2] == second
        third = self._greeted(s).association
        s.sendmsg([], sndrcv(flags=ABORT, association=third))
        assert wait_for(s, COMM_LOST).change()[2] == third
        s.sendto(b"end", self.address)
        wait_for(s, COMM_UP)
        wait_for(s, SHUTDOWN_COMP)

    def nobody_listens_there(self):
        s = socket_of()
        subscribe(s, send_failure=1)
        s.sendto(b"lost", (self.address[0], 9))
        seen = {}
        while len(seen) < 2:
            got = Received(s)
            seen[got.kind] = got
        assert seen[ASSOC_CHANGE].change()[0] == CANT_START
        assert seen[SEND_FAILED].data[48:] == b"lost", seen[SEND_FAILED].data
        assert struct.unpack_from("=I", seen[SEND_FAILED].data, 4)[0] == 52

    def connect_first(self):
        s = self._subscribed()
        s.connect(self.address)
        association = Received(s).change()[2]
        fails_with(errno.EISCONN, s.connect, self.address)
        assert self._greeted(s).association == association
        s.settimeout(None)
        fails_with(errno.ECONNREFUSED, s.connect, (self.address[0], 9))
        self._greeted(s)

    def readiness(self):
        s = socket_of()
        s.setblocking(False)
        poller = select.epoll()
        poller.register(s, select.EPOLLIN | select.EPOLLOUT)
        assert poller.poll(0) == [(s.fileno(), select.EPOLLOUT)]
        poller.modify(s, select.EPOLLIN)
        assert not poller.poll(0)
        s.sendto(b"wake me", self.address)
        assert poller.poll(20) == [(s.fileno(), select.EPOLLIN)]
        assert s.recv(100) == b"wake me"
        assert not poller.poll(0)
        fails_with(errno.EAGAIN, s.recv, 1)

    def a_full_buffer_waits(self):
        s = socket_of()
        s.setblocking(False)
        sent = 0
        try:
            for _ in range(1000):
                s.sendto(bytes(60000), self.address)
                sent += 1
        except BlockingIOError:
            pass
        assert 2 < sent < 1000, sent
        s.settimeout(20)
        for _ in range(sent):
            assert len(data_of(s).data) == 60000

    def many_peers_at_once(self):
        """A server's view: twenty of our own sockets talk to one, which also talks to the peer."""
        server = self._subscribed()
        server.bind(("", 0))
        server.listen(5)
        here = (self._own_address(), server.getsockname()[1])
        clients = [socket_of() for _ in range(20)]
        for i, client in enumerate(clients):
            client.sendto(b"number %d" % i, here)
        seen = {}
        while len(seen) < 20:
            got = data_of(server)
            seen[got.association] = got
            server.sendmsg([b"answer to " + got.data], sndrcv(association=got.association))
        for i, client in enumerate(clients):
            assert data_of(client).data == b"answer to number %d" % i
        assert struct.unpack("=I", ask(server, ASSOC_NUMBER, size=4))[0] == 20
        self._greeted(server)
        server.close()  # ends them all
        for client in clients:
            client.close()

    def _own_address(self):
        s = socket_of(socket.SOCK_STREAM)
        s.connect(self.address)
        return s.getsockname()[0]

    def without_listening(self):
        deaf = socket_of()
        deaf.bind(("", 0))
        here = (self._own_address(), deaf.getsockname()[1])
        s = self._subscribed()
        s.sendto(b"anybody?", here)
        assert Received(s).change()[0] == CANT_START
        deaf.listen(1)
        s.sendto(b"now?", here)
        assert deaf.recv(100) == b"now?"
        deaf.listen(0)  # no more
        fails_with(errno.ECONNREFUSED, socket_of_patience().connect, here)

    def one_to_one_with_one_to_many(self):
        s = socket_of(socket.SOCK_STREAM)
        s.connect(self.address)
        s.sendall(b"from one")
        assert s.recv(100) == b"from one"

    def one_to_one_connects_by_sending(self):
        s = socket_of_patience(socket.SOCK_STREAM)
        s.sendto(b"to begin with", self.address)
        assert s.recv(100) == b"to begin with" and s.getpeername() == self.address
        s.sendto(b"the peer stays", (self.address[0], 9))
        assert s.recv(100) == b"the peer stays"

    def peel_off(self):
        s = self._subscribed()
        association = self._greeted(s).association
        fd = lib.sctp_peeloff(s.fileno(), association)
        assert fd >= 0, os.strerror(ctypes.get_errno())
        peeled = socket.socket(fileno=fd)
        peeled.settimeout(20)
        assert peeled.getpeername() == self.address and peeled.getsockname() == (self._own_address(), s.getsockname()[1])
        peeled.sendall(b"apart")
        got = Received(peeled)
        assert got.data == b"apart" and got.association == association, vars(got)
        assert lib.sctp_peeloff(s.fileno(), association) == -1 and ctypes.get_errno() == errno.EINVAL
        s.sendto(b"no other may have the same ports", self.address)
        self._told(s, errno.EADDRNOTAVAIL)
        peeled.close()

    def peel_off_there(self):
        s = self._subscribed()
        s.sendto(b"peel", self.address)
        assert data_of(s).data == b"peeled"
        s.sendto(b"who?", self.address)
        assert data_of(s).data == b"apart: who?"

    def peel_off_what_waits(self):
        """What had come before is read from the new socket, or was told before."""
        s = self._subscribed()
        s.sendto(b"one", self.address)
        association = wait_for(s, COMM_UP).change()[2]
        s.sendto(b"two", self.address)
        fd = lib.sctp_peeloff(s.fileno(), association)
        assert fd >= 0
        peeled = socket.socket(fileno=fd)
        peeled.settimeout(20)
        got = []
        while len(got) < 2:
            readable = select.select([s, peeled], [], [], 20)[0]
            assert readable, got
            got += [one.recv(100) for one in readable]
        assert sorted(got) == [b"one", b"two"], got  # which of two sockets is read first is chance

    def peel_off_and_end(self):
        s = self._subscribed()
        association = self._greeted(s).association
        peeled = socket.socket(fileno=lib.sctp_peeloff(s.fileno(), association))
        peeled.settimeout(20)
        peeled.shutdown(socket.SHUT_WR)
        while True:
            data, _, flags, _ = peeled.recvmsg(1000)
            if not flags & MSG_NOTIFICATION:
                break
        assert data == b""

    def peel_off_nonsense(self):
        s = self._subscribed()
        for number in (0, 1, 2, 99999, -1, 0x7fffffff, -0x80000000):
            assert lib.sctp_peeloff(s.fileno(), number) == -1 and ctypes.get_errno() == errno.EINVAL, number
        one = socket_of(socket.SOCK_STREAM)
        assert lib.sctp_peeloff(one.fileno(), 1) == -1 and ctypes.get_errno() == errno.EINVAL

    def autoclose(self):
        """On a bad path it may take more than one: usrsctp never closes an association in which something is unacknowledged when its second ends."""
        for last in (False, False, False, True):
            s = self._subscribed()
            s.setsockopt(SCTP, AUTOCLOSE, 1)
            assert s.getsockopt(SCTP, AUTOCLOSE) == 1
            s.settimeout(20)
            association = self._greeted(s).association
            s.settimeout(5)
            try:
                assert wait_for(s, SHUTDOWN_COMP).change()[2] == association
                break
            except TimeoutError:
                if last:
                    raise
            s.close()
        fails_with(errno.EOPNOTSUPP, socket_of(socket.SOCK_STREAM).setsockopt, SCTP, AUTOCLOSE, 1)

    def after_fork(self):
        s = self._subscribed()
        self._greeted(s)
        child = os.fork()
        if child == 0:
            try:
                self._greeted(s, b"from the child")
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        self._greeted(s, b"from the parent")

    def libsctp_names(self):
        s = socket_of_patience()
        own = struct.pack("=H", socket.AF_INET) + struct.pack("!H", 0) + socket.inet_aton(self._own_address()) + bytes(8)
        assert lib.sctp_bindx(s.fileno(), own, 1, 1) == 0, os.strerror(ctypes.get_errno())
        assert lib.sctp_bindx(s.fileno(), own, 1, 1) == -1 and ctypes.get_errno() == errno.EADDRNOTAVAIL
        peer = struct.pack("=H", socket.AF_INET) + struct.pack("!H", self.address[1]) + socket.inet_aton(self.address[0]) + bytes(8)
        number = ctypes.c_int(0)
        assert connectx(s.fileno(), peer + peer, 2, ctypes.byref(number)) == -1 and ctypes.get_errno() == errno.EADDRNOTAVAIL
        assert connectx(s.fileno(), peer, 1, ctypes.byref(number)) == 0, os.strerror(ctypes.get_errno())
        assert number.value != 0
        addresses = ctypes.c_void_p(0)
        for function, wanted in ((lib.sctp_getpaddrs, peer[4:8]), (lib.sctp_getladdrs, own[4:8])):
            assert function(s.fileno(), number, ctypes.byref(addresses)) == 1
            assert ctypes.string_at(addresses.value, 16)[4:8] == wanted
        assert lib.sctp_getpaddrs(s.fileno(), 0x7fffff00, ctypes.byref(addresses)) == -1 and ctypes.get_errno() == errno.EINVAL

    def libsctp_messages(self):
        s = socket_of_patience()
        subscribe(s)
        peer = struct.pack("=H", socket.AF_INET) + struct.pack("!H", self.address[1]) + socket.inet_aton(self.address[0]) + bytes(8)
        assert lib.sctp_sendmsg(s.fileno(), b"by libsctp", 10, peer, 16, socket.htonl(21), 0, 4, 0, 0) == 10
        wait_for(s, COMM_UP)
        buffer, sender, info = ctypes.create_string_buffer(100), ctypes.create_string_buffer(16), ctypes.create_string_buffer(32)
        length, flags = ctypes.c_uint(16), ctypes.c_int(0)
        assert lib.sctp_recvmsg(s.fileno(), buffer, 100, sender, ctypes.byref(length), info, ctypes.byref(flags)) == 10
        stream, _, _, protocol = struct.unpack_from("=HHHxxI", info.raw)
        assert (buffer.raw[:10], stream, socket.ntohl(protocol)) == (b"by libsctp", 4, 21)
        assert sender.raw[:8] == peer[:8] and flags.value & MSG_EOR


def connect(host, port, only=""):
    promises = Promises(host, port)
    keep([getattr(promises, n) for n in vars(Promises) if not n.startswith("_") and only in n])


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        Echo(int(sys.argv[2])).run()
    else:
        connect(sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
