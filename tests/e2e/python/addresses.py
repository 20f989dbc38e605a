"""addresses.py NAME ADDRESS PORT: every list of interfaces has ADDRESS on NAME, once, under the same number; then a datagram that
comes to PORT is told to have come in by that number. Netlink messages are written and read byte by byte: netlink(7), rtnetlink(7)."""
import ctypes
import fcntl
import os
import select
import socket
import struct
import sys

NAME, ADDRESS, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
NUMBER = socket.if_nametoindex(NAME)
RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR, NLMSG_ERROR, NLMSG_DONE = 16, 18, 20, 22, 2, 3
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_DUMP = 1, 2, 0x300
IFA_LOCAL, IFA_LABEL = 2, 3
SOL_NETLINK, NETLINK_GET_STRICT_CHK = 270, 12
WANTED = (NUMBER, ADDRESS, NAME)


def check(condition, *what):
    if not condition:
        sys.exit(f"addresses.py: {what}")


def request(kind, family, sequence, number=0):
    body = struct.pack("=BBBBI", family, 0, 0, 0, number) + (b"" if kind == RTM_GETADDR else bytes(8))
    return struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, sequence, 0) + body


def parse(datagram, sequence, port):
    """The messages of one datagram: (type, what it says)."""
    out = []
    while datagram:
        length, kind, flags, number, pid = struct.unpack("=IHHII", datagram[:16])
        check(16 <= length <= len(datagram), "a cut message", length, len(datagram))
        check(number == sequence and pid == port, "whose answer is this", number, sequence, pid, port)
        check(kind == NLMSG_ERROR or flags & NLM_F_MULTI, "flags", flags)
        body, datagram = datagram[16:length], datagram[(length + 3) & ~3:]
        said = None
        if kind == RTM_NEWADDR:
            index, = struct.unpack("=I", body[4:8])
            attributes, rest = {}, body[8:]
            while rest:
                size, number = struct.unpack("=HH", rest[:4])
                attributes[number], rest = rest[4:size], rest[(size + 3) & ~3:]
            said = None
            if body[0] == socket.AF_INET:
                said = index, socket.inet_ntoa(attributes[IFA_LOCAL]), attributes[IFA_LABEL].rstrip(b"\0").decode()
        out.append((kind, said))
    return out


def receive_plainly(sock):
    return sock.recv(65536)


def receive_by_peeking(sock):
    """As iproute2: the size first."""
    _, _, flags, source = sock.recvmsg(0, 0, socket.MSG_PEEK | socket.MSG_TRUNC)
    check(flags & socket.MSG_TRUNC and source == (0, 0), "the peek", flags, source)
    size = sock.recv_into(bytearray(1), 1, socket.MSG_PEEK | socket.MSG_TRUNC)
    data, _, flags, source = sock.recvmsg(size)
    check(len(data) == size and not flags & socket.MSG_TRUNC and source == (0, 0), "the sizes", len(data), size, flags)
    return data


def receive_by_reading(sock):
    return os.read(sock.fileno(), 65536)


def receive_when_told(sock):
    """Non-blocking: whatever is there is announced by poll, select and epoll."""
    poll, epoll = select.poll(), select.epoll()
    poll.register(sock, select.POLLIN)
    epoll.register(sock, select.EPOLLIN)
    check(poll.poll(5000) == [(sock.fileno(), select.POLLIN)], "poll")
    check(epoll.poll(5) == [(sock.fileno(), select.EPOLLIN)], "epoll")
    check(select.select([sock], [], [], 5)[0] == [sock], "select")
    return sock.recvfrom(65536, socket.MSG_DONTWAIT)[0]


def dump(sock, family, sequence, receive=receive_plainly, number=0, kind=RTM_GETADDR):
    sock.sendto(request(kind, family, sequence, number), (0, 0))
    out = []
    while not out or out[-1][0] not in (NLMSG_DONE, NLMSG_ERROR):
        out += parse(receive(sock), sequence, sock.getsockname()[0])
    check(out[-1][0] == NLMSG_DONE, "an error instead of an answer")
    try:
        check(not sock.recv(100, socket.MSG_DONTWAIT), "something follows the end")
    except BlockingIOError:
        pass
    return [said for kind, said in out if kind == RTM_NEWADDR and said]


def by_netlink():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.bind((0, 0))
        for receive in (receive_plainly, receive_by_peeking, receive_by_reading, receive_when_told):
            for family in (socket.AF_UNSPEC, socket.AF_INET):
                said = dump(sock, family, 7, receive)
                check(said.count(WANTED) == 1 and len(said) == len(set(said)), receive.__name__, family, said)
        check(not dump(sock, socket.AF_INET6, 8), "IPv4 addresses among IPv6 ones")
        check(not dump(sock, socket.AF_UNSPEC, 9, kind=RTM_GETLINK), "addresses among links")
        with sock.dup() as copy:  # a dump belongs to the socket, not to the number
            sock.send(request(RTM_GETADDR, socket.AF_INET, 10))
            check(WANTED in [said for _, said in parse(receive_plainly(copy), 10, copy.getsockname()[0])], "by a dup")
            while parse(receive_plainly(copy), 10, copy.getsockname()[0])[-1][0] != NLMSG_DONE:
                pass
        sock.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        check(dump(sock, socket.AF_INET, 11, number=NUMBER) == [WANTED], "of this interface")
        for _, other in socket.if_nameindex():
            if other != NAME:
                check(WANTED not in dump(sock, socket.AF_INET, 12, number=socket.if_nametoindex(other)), "of", other)
        freed = sock.fileno()
        sock.send(request(RTM_GETADDR, socket.AF_INET, 13))  # never read
    with open("/etc/hostname", "rb") as other:
        check(other.fileno() == freed, "the number is used again")
        check(b"eth0" not in os.read(freed, 4096), "an answer from a file")


def by_getifaddrs():
    class Entry(ctypes.Structure):
        pass
    Entry._fields_ = [("next", ctypes.POINTER(Entry)), ("name", ctypes.c_char_p), ("flags", ctypes.c_uint),
                      ("address", ctypes.POINTER(ctypes.c_uint8 * 16))]
    libc, first, said = ctypes.CDLL(None), ctypes.POINTER(Entry)(), []
    check(libc.getifaddrs(ctypes.byref(first)) == 0, "getifaddrs")
    entry = first
    while entry:
        e = entry.contents
        if e.address and bytes(e.address.contents[:2]) == struct.pack("=H", socket.AF_INET):
            said.append((e.name.decode(), socket.inet_ntoa(bytes(e.address.contents[4:8]))))
        entry = e.next
    libc.freeifaddrs(first)
    check(said.count((NAME, ADDRESS)) == 1 and len(said) == len(set(said)), "getifaddrs", said)


def by_ioctl():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        def ask(number):
            return fcntl.ioctl(sock, number, struct.pack("16s24x", NAME.encode()))[16:]
        check(socket.inet_ntoa(ask(0x8915)[4:8]) == ADDRESS, "SIOCGIFADDR")
        check(struct.unpack("=i", ask(0x8933)[:4])[0] == NUMBER, "SIOCGIFINDEX")


def by_datagram():
    IP_PKTINFO = 8
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        sock.bind(("0.0.0.0", PORT))
        sock.settimeout(20)
        print("ready", flush=True)
        _, control, _, _ = sock.recvmsg(100, 100)
        check([(level, kind) for level, kind, _ in control] == [(socket.IPPROTO_IP, IP_PKTINFO)], control)
        index, = struct.unpack("=i", control[0][2][:4])
        check(index == NUMBER and control[0][2][8:12] == socket.inet_aton(ADDRESS), "IP_PKTINFO", index, control)


by_netlink()
by_getifaddrs()
by_ioctl()
by_datagram()
print("good")
