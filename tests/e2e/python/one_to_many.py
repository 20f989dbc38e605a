"""One-to-many SCTP sockets for many_messages.py: the kernel's numbers, libsctp, and what Python's sockets cannot do by themselves."""
import ctypes
import errno
import socket
import struct

SCTP = socket.IPPROTO_SCTP
RTOINFO, AUTOCLOSE, EVENTS, STATUS, PATH_INFO, ASSOC_NUMBER, ASSOC_LIST, RECVRCVINFO, EVENT = 0, 4, 11, 14, 15, 28, 29, 32, 127
PEER_PARAMETERS, ASSOCINFO, CONTEXT, PEELOFF = 9, 1, 17, 102
SNDRCV, SNDINFO, RCVINFO = 1, 2, 3
MSG_EOR, MSG_NOTIFICATION, ABORT, EOF, UNORDERED = 0x80, 0x8000, 4, 0x200, 1
ASSOC_CHANGE, SEND_FAILED, SHUTDOWN = 0x8001, 0x8003, 0x8005
COMM_UP, COMM_LOST, SHUTDOWN_COMP, CANT_START = 0, 1, 3, 4
ESTABLISHED = 4

lib = ctypes.CDLL("libsctp.so.1", use_errno=True)
libc = ctypes.CDLL(None, use_errno=True)
libc.dlvsym.restype = ctypes.c_void_p
# The first of its three versions is what dlsym finds, with fewer arguments.
connectx = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, use_errno=True)(
    libc.dlvsym(ctypes.c_void_p(lib._handle), b"sctp_connectx", b"VERS_3"))  # pylint: disable=protected-access


def socket_of(kind=socket.SOCK_SEQPACKET):
    s = socket.socket(socket.AF_INET, kind, SCTP)
    s.settimeout(20)
    return s


def socket_of_patience(kind=socket.SOCK_SEQPACKET):
    """Blocking: Python's time-outs make sockets non-blocking, which libsctp and connect(2) notice."""
    s = socket_of(kind)
    s.settimeout(None)
    return s


def ask(s, name, asked=b"", size=256):
    """getsockopt(2) that says what it asks about, which Python's cannot."""
    buffer = ctypes.create_string_buffer(asked.ljust(size, b"\0"), size)
    length = ctypes.c_uint(size)
    if libc.getsockopt(s.fileno(), SCTP, name, buffer, ctypes.byref(length)) < 0:
        raise OSError(ctypes.get_errno(), "getsockopt")
    return buffer.raw[:length.value]


def subscribe(s, data_io=1, association=1, send_failure=0, shutdown=0):
    s.setsockopt(SCTP, EVENTS, bytes([data_io, association, 0, send_failure, 0, shutdown, 0, 0]))


def sndrcv(stream=0, flags=0, protocol=0, association=0):
    return [(SCTP, SNDRCV, struct.pack("=HHHxxIIIIIi", stream, 0, flags, socket.htonl(protocol), 0, 0, 0, 0, association))]


class Received:
    """A whole message, or a notification."""
    def __init__(self, s, size=200000):
        self.data, self.association, self.control = b"", 0, []
        while True:
            piece, control, self.flags, self.sender = s.recvmsg(size, 256)
            self.data += piece
            for _, kind, value in control:
                self.control.append(kind)
                self.association = struct.unpack_from("=i", value, 28 if kind == SNDRCV else 24)[0]
                if kind == SNDRCV:
                    self.stream, _, self.sinfo_flags, protocol = struct.unpack_from("=HHHxxI", value)
                    self.protocol = socket.ntohl(protocol)
            if self.flags & MSG_EOR or not piece:
                break
        self.kind = struct.unpack_from("=H", self.data)[0] if self.flags & MSG_NOTIFICATION else 0

    def change(self):
        """State, error and association of an association's change."""
        assert self.kind == ASSOC_CHANGE, (hex(self.kind), self.data)
        state, error, _, _, association = struct.unpack_from("=HHHHi", self.data, 8)
        return state, error, association


def data_of(s):
    """The next message that is no notification."""
    while True:
        got = Received(s)
        if not got.flags & MSG_NOTIFICATION:
            return got


def wait_for(s, state):
    while True:
        got = Received(s)
        if got.kind == ASSOC_CHANGE and got.change()[0] == state:
            return got


def fails_with(number, function, *words):
    try:
        result = function(*words)
    except OSError as error:
        assert error.errno == number, error
        return
    raise AssertionError(f"{result!r} instead of {errno.errorcode[number]}")
