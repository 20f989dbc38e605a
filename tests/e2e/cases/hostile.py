"""A client that breaks every promise of the channel, and a peer that sends frames to do harm: ferryd stays up and serves the others.

With a sanitized ferryd (run.py --ferryd) any report is a failure; `make soak` does that for ten minutes each.
"""
import os

from cases import FERRY_KERNEL, KERNEL_FERRY, case
from cases.bulk import transfer
from evidence import kernel_sockets, reports_of
from harness import Failed, Process, eventually


def seconds(net):
    return int(os.environ.get("SECONDS_EACH", "600")) if net.options.full else 8


def survive(net, side, attack, length):
    """Runs transfers beside the attack until it ends; ferryd must not notice more than counters."""
    rounds = 0
    while attack.running():
        if not side.ferryd.running():
            raise Failed(f"ferryd ended with {side.ferryd.popen.returncode} during the attack\n{side.ferryd.tail(60)}")
        transfer(net, 4, 2, 60)
        rounds += 1
    if attack.popen.returncode != 0:
        raise Failed(f"the attacker ended with {attack.popen.returncode}\n{attack.tail()}")
    if reports_of(side):
        raise Failed("ferryd reports:\n" + "\n".join(reports_of(side)[:20]))
    if rounds < 2:
        raise Failed(f"only {rounds} transfers in {length} s beside the attack: others are affected")
    transfer(net, 8, 2, 60)


@case((FERRY_KERNEL,), timeout=100)
def hostile_client(net):
    side, length = net.client, seconds(net)
    echo = net.server.spawn(net.python("echo_anyone.py", "9100"))
    eventually(lambda: "ready" in echo.output()[0] or not echo.running(), 15, "the echo server listens\n" + echo.tail())
    attack = Process(["ip", "netns", "exec", side.netns, net.options.program("hostile_client"), side.socket, net.target, str(length),
                      os.environ.get("SEED", "1")], net.log_path("hostile"))
    side.processes.append(attack)
    survive(net, side, attack, length)
    if not echo.running():
        raise Failed(f"the echo server ended: nothing came into the attacker's rings\n{echo.tail()}")
    if kernel_sockets(side.ferryd.pid):
        raise Failed(f"ferryd opened sockets of the kernel: {kernel_sockets(side.ferryd.pid)}")
    side.tier2_expected = True  # the attacker demotes sockets


@case((KERNEL_FERRY,), timeout=100)
def hostile_frames(net):
    length = seconds(net)
    attack = Process(["ip", "netns", "exec", net.client.netns, net.options.program("hostile_frames"), "eth0", str(length),
                      os.environ.get("SEED", "1"), net.target], net.log_path("hostile"))
    net.client.processes.append(attack)
    # Forged resets and data hit the connections that are there to be forged: only ferryd's life and reports count meanwhile.
    while attack.running():
        if not net.server.ferryd.running():
            raise Failed(f"ferryd ended with {net.server.ferryd.popen.returncode} during the attack\n{net.server.ferryd.tail(60)}")
        try:
            transfer(net, 4, 2, 15)
        except Failed:
            net.server.stop_programs()
    if reports_of(net.server):
        raise Failed("ferryd reports:\n" + "\n".join(reports_of(net.server)[:20]))
    transfer(net, 8, 2, 60)
