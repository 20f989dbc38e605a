"""Proof that programs really ran on Ferry: the kernel's TCP and UDP tables of the namespace stay empty, and no byte went by tier 2.

Allowed in the kernel's tables: the loopback twin of a listener on 0.0.0.0 (docs/architecture.md: such a listener also accepts on
the kernel's loopback), and what talks to it, so sockets whose local address is in 127.0.0.0/8 or ::1.
"""
import re
import threading

TABLES = ("tcp", "udp", "tcp6", "udp6")
# A socket for IPv6 alone that waits on all addresses: no IPv4 peer reaches it.
V6_WILDCARD = re.compile(r"(tcp6|udp6) 0\.0\.0\.0:\d+ -> 0\.0\.0\.0:0 ")


def kernel_sockets(pid):
    """Rows of the kernel's tables, as the process sees them, which do not belong to the kernel's loopback."""
    rows = []
    for table in TABLES:
        try:
            with open(f"/proc/{pid}/net/{table}") as lines:
                next(lines)
                for line in lines:
                    fields = line.split()
                    local = fields[1].split(":")[0]
                    if not is_loopback(local):
                        rows.append(f"{table} {readable(fields[1])} -> {readable(fields[2])} state {fields[3]}")
        except (OSError, StopIteration):
            pass
    return rows


def is_loopback(address):
    """Of an address as /proc writes it: hexadecimal words in host order."""
    if len(address) == 8:
        return address.endswith("7F")
    return address == "00000000000000000000000001000000" or \
        (address.startswith("0000000000000000FFFF0000") and address.endswith("7F"))


def readable(pair):
    address, port = pair.split(":")
    octets = ".".join(str(int(address[-8:][i:i + 2], 16)) for i in (6, 4, 2, 0))
    return f"{octets}:{int(port, 16)}"


class KernelTableWatch:
    """Looks at the kernel's tables all the time a test runs; remembers what should not be there. `every`: seconds; None: only when it is told to, for
    what is measured (a look walks through the kernel's whole hash tables, which takes milliseconds)."""

    def __init__(self, pid, every=0.1):
        self.pid, self.every, self.seen = pid, every, set()
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        if every:
            self.thread.start()

    def watch(self):
        while not self.ending.wait(self.every):
            self.look()

    def look(self):
        self.seen.update(kernel_sockets(self.pid))

    def unexpected(self, v6_wildcards):
        return sorted(row for row in self.seen if not (v6_wildcards and V6_WILDCARD.match(row)))

    def stop(self):
        self.ending.set()
        if self.every:
            self.thread.join(5)


def number(document, *path):
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def reports_of(side):
    """What sanitizers and assertions of this side's ferryd wrote."""
    text = side.ferryd.output()[1]
    return [line for line in text.splitlines() if "Sanitizer" in line or "runtime error" in line or "assert" in line.lower()]


def check_side(side):
    """Raises Failed unless everything on this side went over Ferry and nothing is left."""
    from harness import Failed, eventually
    if not side.ferryd.running():
        raise Failed(f"ferryd of the {side.name} side ended with {side.ferryd.popen.returncode}\n{side.ferryd.tail()}")
    side.watch.stop()
    if not side.kernel_use_expected:
        if seen := side.watch.unexpected(side.v6_wildcards_expected):
            raise Failed(f"sockets of the kernel's stack on the {side.name} side:\n  " + "\n  ".join(seen[:20]))
        moved = number(side.stat(), "tier2", "bytes_to_client"), number(side.stat(), "tier2", "bytes_from_client")
        if side.net.options.scheme != "copy" and not side.tier2_expected and moved != (0, 0):
            raise Failed(f"bytes went by tier 2 on the {side.name} side (to, from the client): {moved}")
    if number(side.stat(), "links") and not any(link.get("rx_frames") for link in side.stat()["links"]) \
            and side.stack == "ferry" and not side.kernel_use_expected:
        raise Failed(f"ferryd of the {side.name} side never received a frame")
    # Programs have ended: their channels and sockets go. TIME_WAIT has no owner and may stay.
    eventually(lambda: number(side.stat(), "clients") == 1, 10, f"ferryd of the {side.name} side forgets ended clients (it counts the one that asks)", every=0.2)
    eventually(lambda: not [s for s in side.sockets() if s.get("pid")], 10, f"no owned socket is left on the {side.name} side",
               every=0.2)
