"""Bytes keep the program's order across all paths, and a descriptor number that was freed unseen is never taken for a socket."""
import os

from cases import FERRY_FERRY, FERRY_KERNEL, LOOPBACK, case
from harness import Failed, eventually


@case((FERRY_KERNEL, FERRY_FERRY, LOOPBACK), timeout=120, needs=("gcc",))
def order_across_paths(net):
    net.client.tier2_expected = True  # that is what it is about
    program = os.path.join(net.folder, "order")
    net.system(f"gcc -O1 -Wall -o {program} {os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'order.c')}")
    server = net.server.spawn(net.python("counting_server.py", "9400"))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())
    connections, numbers = ("50", "20000") if net.options.full else ("10", "5000")
    net.client.run([program, net.target, "9400", connections, numbers], timeout=100 * (20 if net.options.full else 1))
    if server.output()[0] != "ready\n":
        raise Failed(f"the order is wrong:\n{server.tail()}")
