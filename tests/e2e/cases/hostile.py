"""A client that breaks every promise of the channel, and a peer that sends frames to do harm: ferryd stays up and serves the others.

With a sanitized ferryd (run.py --ferryd) any report is a failure; `make soak` does that for ten minutes each.
"""
import os
import re

from attack import check_ferryd, hostile_client
from cases import FERRY_FERRY, FERRY_KERNEL, KERNEL_FERRY, SELF, case
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


def connect_for(net, length):
    """How many connections to the shared listener were served, how many were not, and which of these brought other bytes."""
    told = net.client.run(net.python("shared_listener.py", "connect", net.target, "9200", str(length)), timeout=length + 60).out
    served, lost, *wrong = (int(n) for n in told.split())
    return served, lost, wrong


@case((KERNEL_FERRY, FERRY_FERRY, SELF), timeout=150)
def hostile_sharer(net):
    """An attacker shares the listener of a program that behaves: what it takes is its own to lose; every other connection is served, nothing of a
    served one is another's, and when it has ended there is nothing left of it."""
    length = seconds(net)
    server = net.server.spawn(net.python("shared_listener.py", "serve", "9200", net.options.program("hostile_client"), net.server.socket,
                                         "10.9.0.77", net.server.address, str(length), os.environ.get("SEED", "1")))
    eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())
    served, lost, wrong = connect_for(net, length - 1)
    check_ferryd(net.server)
    answered = {int(n) for n in re.findall(r"^\d+$", server.output()[0], re.MULTILINE)}
    if answered & set(wrong):
        raise Failed(f"connections {sorted(answered & set(wrong))[:10]} of the program that behaves brought bytes that it did not send")
    if served < 20 or lost == 0:
        raise Failed(f"{served} connections served, {lost} lost to the attacker: it had no part in the listener, or the other had none")
    eventually(lambda: "over" in server.output()[0] or not server.running(), length + 20, "the attacker ends\n" + server.tail())
    served_alone, lost_alone, _ = connect_for(net, 3)
    print(f"beside the attacker {served} served, {lost} lost, {len(wrong)} of them with bytes; alone {served_alone} served")
    if served_alone < 20 or lost_alone != 0:
        raise Failed(f"after the attack: {served_alone} served, {lost_alone} lost\n{server.tail()}")
    if not server.running():
        raise Failed(f"the server ended\n{server.tail()}")


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
