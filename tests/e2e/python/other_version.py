"""other_version.py PATH: a control socket that answers every hello as a ferryd of another version would (src/ipc/control.h)."""
import socket
import struct
import sys

REQUEST, VERSION_MISMATCH = 312, 28
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
    listener.bind(sys.argv[1])
    listener.listen(8)
    while True:
        connection, _ = listener.accept()
        with connection:
            request = connection.recv(REQUEST + 1)
            if len(request) != REQUEST:
                continue
            operation, sequence = struct.unpack_from("=II", request)
            info = struct.pack("=QIIII32s", 1, 999, 1, 1, 0, b"99.0")
            reply = struct.pack("=IIIIII", operation, sequence, VERSION_MISMATCH, 0, 0, 0) + bytes(40)
            connection.send(reply + struct.pack("=I", len(info)) + info.ljust(256, b"\0"))
