"""handed.py serve PORT SEED | send HOST PORT SEED SECONDS: two programs that hand large buffers to each other, both ways in turn, and what a
program may do to one that it has sent, or got.

Every 2 MiB of what is sent differ from all others. The sender at once overwrites, frees, sends again, protects or leaves to a child what it
has sent; the receiver keeps what it got, for a while or long, writes to some of it, clears or protects some, has a child that still looks at it
after the parent has gone on. All of it is compared again and again: nothing of what the other end does later may show. At last each says how many
bytes it has compared.
"""
import ctypes
import mmap
import os
import random
import socket
import struct
import sys
import time

PAGE = 2 << 20
HEADER = struct.Struct(">QQ?")  # number and bytes; at the end of a turn 0, 0, and whether it was the last
LIBC = ctypes.CDLL(None, use_errno=True)
PROT_READ, PROT_WRITE = 1, 2
KEPT = 12   # buffers; more than the other end's region would bear if all were for ever


def content(number, size):
    """Bytes of message `number`."""
    pages = (struct.pack("<QQ", number, page) * (PAGE // 16) for page in range(size // PAGE + 1))
    return bytearray(b"".join(pages)[:size])


def buffer_of(size):
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def address(buffer):
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def protect(buffer, protection):
    if LIBC.mprotect(ctypes.c_void_p(address(buffer)), ctypes.c_size_t(len(buffer)), protection) != 0:
        sys.exit(f"mprotect: {os.strerror(ctypes.get_errno())}")


class End:
    def __init__(self, sock, seed):
        self.sock, self.dice = sock, random.Random(seed)
        self.kept = []       # (buffer, what it holds, number)
        self.children = []   # (pid, a pipe that tells it to look and end)
        self.compared = self.number = 0

    def compare(self, buffer, expected, what):
        self.compared += len(expected)
        if buffer[:] == expected:
            return
        seen = buffer[:]
        at = next(i for i in range(len(expected)) if seen[i] != expected[i])
        sys.exit(f"{what}: at {at} of {len(expected)} is {seen[at:at + 32].hex()} for {bytes(expected[at:at + 32]).hex()}")

    def leave_to_child(self, buffer, expected):
        """A child that has the buffer as well, looks at it when it is told, and then ends; its writes are its own."""
        if len(self.children) == 3:
            self.end_child()
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os.read(read, 1)
            good = buffer[:] == expected
            buffer[:] = b"c" * len(buffer)
            os._exit(0 if good else 1)
        os.close(read)
        self.children.append((pid, write))

    def end_child(self):
        pid, write = self.children.pop(0)
        os.write(write, b"!")
        os.close(write)
        if os.waitpid(pid, 0)[1] != 0:
            sys.exit("a child found other bytes than its parent had")

    def send(self, last):
        size = self.dice.choice((PAGE, 2 * PAGE, 3 * PAGE, PAGE + 777, 5 * PAGE // 2, 6 * PAGE, 300_000))
        self.number += 1
        expected = content(self.number, size)
        buffer = buffer_of(size)
        buffer[:] = expected
        for _ in range(self.dice.choice((1, 1, 2, 3))):
            self.sock.sendall(HEADER.pack(self.number, size, 0))
            self.sock.sendall(buffer)
        self.sock.sendall(HEADER.pack(0, 0, last))
        then = self.dice.choice(("overwrite", "free", "child", "protect", "change", "keep"))
        if then == "overwrite":
            buffer[:] = b"o" * size
        elif then == "free":
            buffer.close()
        elif then == "child":
            self.leave_to_child(buffer, expected)
            buffer[:] = b"p" * size
        else:
            if then == "change":
                at = self.dice.randrange(size)
                buffer[at] = expected[at] = 0x55
            self.keep(buffer, expected, then == "protect")

    def receive(self):
        """What the other end sends in its turn. False: that was the last."""
        while True:
            number, size, last = HEADER.unpack(self.exactly(bytearray(HEADER.size), 0))
            if number == 0:
                return not last
            self.receive_one(number, size)

    def exactly(self, buffer, flags):
        with memoryview(buffer) as view:
            filled = 0
            while filled < len(view):
                got = self.sock.recv_into(view[filled:], 0, flags)
                if got == 0:
                    sys.exit("the stream ended")
                filled += got
        return buffer

    def receive_one(self, number, size):
        # Into a new buffer, or one that holds what came before.
        again = [k for k in self.kept if len(k[0]) == size and not k[2]]
        if again and self.dice.random() < 0.4:
            used = self.dice.choice(again)
            self.kept = [k for k in self.kept if k is not used]
            buffer = used[0]
        else:
            buffer = buffer_of(size)
        self.exactly(buffer, self.dice.choice((0, socket.MSG_WAITALL)))
        expected = content(number, size)
        self.compare(buffer, expected, f"message {number}")
        then = self.dice.choice(("change", "child", "clear", "protect", "free", "send back", "keep"))
        if then == "change":
            at = self.dice.randrange(size)
            buffer[at] = expected[at] = 0xaa
        elif then == "child":
            self.leave_to_child(buffer, expected)
            buffer[:] = expected = bytearray(b"w" * size)
        elif then == "clear" and size >= PAGE:
            buffer.madvise(mmap.MADV_DONTNEED, 0, PAGE)
            expected[:PAGE] = bytes(PAGE)
        if then == "free":
            buffer.close()
        else:
            self.keep(buffer, expected, then == "protect")

    def keep(self, buffer, expected, protected):
        if protected:
            protect(buffer, PROT_READ)
        self.kept.append((buffer, expected, protected))
        if len(self.kept) > KEPT:
            old, was, _ = self.kept.pop(self.dice.randrange(KEPT // 2))
            self.compare(old, was, "a buffer that was kept")
            old.close()

    def finish(self):
        for buffer, expected, _ in self.kept:
            self.compare(buffer, expected, "a buffer that was kept to the end")
        while self.children:
            self.end_child()
        print(f"compared: {self.compared}", flush=True)


def main():
    what, words = sys.argv[1], sys.argv[2:]
    if what == "serve":
        with socket.create_server(("0.0.0.0", int(words[0]))) as listener:
            print("ready", flush=True)
            sock = listener.accept()[0]
        end = End(sock, words[1] + "server")
        while end.receive():
            end.send(False)
    else:
        sock = socket.create_connection((words[0], int(words[1])))
        end = End(sock, words[2] + "client")
        over = time.monotonic() + float(words[3])
        while time.monotonic() < over:
            end.send(False)
            end.receive()
        end.send(True)
    end.finish()


main()
