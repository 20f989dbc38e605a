#!/usr/bin/python3
"""Sets gso_ipv4_max_size of an interface of the caller's namespace: gso_limit.py INTERFACE BYTES. (ip-link(8) knows the word since
iproute2 6.3, rtnetlink(7) since Linux 6.3.)"""
import os
import socket
import struct
import sys

RTM_SETLINK, NLM_F_REQUEST, NLM_F_ACK, NLMSG_ERROR, IFLA_GSO_IPV4_MAX_SIZE = 19, 1, 4, 2, 63


def set_gso_limit(interface, size):
    link = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, socket.if_nametoindex(interface), 0, 0)
    body = link + struct.pack("=HHI", 8, IFLA_GSO_IPV4_MAX_SIZE, size)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(body), RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0) + body)
        kind, error = struct.unpack_from("=4xH10xi", netlink.recv(4096))
    if kind != NLMSG_ERROR or error != 0:
        raise OSError(-error, os.strerror(-error), interface)


if __name__ == "__main__":
    set_gso_limit(sys.argv[1], int(sys.argv[2]))
