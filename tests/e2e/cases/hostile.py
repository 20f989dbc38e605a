"""A client that breaks every promise of the channel, and a peer that sends frames to do harm: ferryd stays up and serves the others.

With a sanitized ferryd (run.py --ferryd) any report is a failure; `make soak` does that for ten minutes each.
"""
import os

from attack import check_ferryd, hostile_client
from cases import FERRY_KERNEL, KERNEL_FERRY, case
from cases.bulk import transfer
from evidence import kernel_sockets
from harness import Failed, Process, eventually


def seconds(net):
    return int(os.environ.get("SECONDS_EACH", "600")) if net.options.full else 8


def survive(net, attack, length):
    """Runs transfers beside the attack until it ends."""
    rounds = 0
    while attack.running():
        check_ferryd(net.client)
        transfer(net, 4, 2, 60)
        rounds += 1
    if rounds < 2:
        raise Failed(f"only {rounds} transfers in {length} s beside the attack: others are affected")
    transfer(net, 8, 2, 60)


@case((FERRY_KERNEL,), timeout=150, name="hostile-client")
def attacked_by_client(net, neighbour=True):
    length = seconds(net)
    echo = net.server.spawn(net.python("echo_anyone.py", "9100"))
    eventually(lambda: "ready" in echo.output()[0] or not echo.running(), 15, "the echo server listens\n" + echo.tail())
    with hostile_client(net, net.client, net.target, length, neighbour) as attack:
        survive(net, attack, length)
    if not echo.running():
        raise Failed(f"the echo server ended: nothing came into the attacker's rings\n{echo.tail()}")
    if kernel_sockets(net.client.ferryd.pid):
        raise Failed(f"ferryd opened sockets of the kernel: {kernel_sockets(net.client.ferryd.pid)}")


@case((KERNEL_FERRY,), timeout=100)
def hostile_frames(net):
    length = seconds(net)
    attack = Process(["ip", "netns", "exec", net.client.netns, net.options.program("hostile_frames"), "eth0", str(length),
                      os.environ.get("SEED", "1"), net.target], net.log_path("hostile"))
    net.client.processes.append(attack)
    # Forged resets and data hit the connections that are there to be forged: only ferryd's life and reports count meanwhile.
    while attack.running():
        check_ferryd(net.server)
        try:
            transfer(net, 4, 2, 15)
        except Failed:
            net.server.stop_programs()
    check_ferryd(net.server)
    transfer(net, 8, 2, 60)
