#!/usr/bin/python3
"""Sockets bound to 0.0.0.0 that never listen: they leave the port of the kernel's loopback when they are closed or connect there.

    bound_only.py PORT      something of the kernel's listens on 127.0.0.1:PORT; prints what happens
"""
import socket
import sys

port = int(sys.argv[1])
bound = socket.socket()
bound.bind(("0.0.0.0", 0))
name = bound.getsockname()
bound.connect(("127.0.0.1", port))
print("connected from the bound port", bound.getsockname()[1] == name[1])
bound.close()

bound = socket.socket()
bound.bind(("0.0.0.0", 0))
name = bound.getsockname()
bound.close()
local = socket.socket()
local.bind(("127.0.0.1", name[1]))
print("closed, and free")
