"""A client that breaks every promise of the channel and of passages (hostile/client.cc), and how to tell that nobody suffered from it."""
import contextlib
import os
import signal

from evidence import reports_of
from harness import Failed, Process, eventually

UNTIL_THE_BLOCK_ENDS = 1800  # the longest, on a busy machine


@contextlib.contextmanager
def hostile_client(net, side, peer="10.9.0.77", seconds=None, neighbour=True):
    """Attacks the side's ferryd for so many seconds, which the block then has to wait for, or until the block ends; yields the attacker.
    ferryd must not notice more than counters. `neighbour`: a client of the same ferryd that behaves, whose passages are attacked;
    it too must not notice more than broken connections."""
    well_behaved = start_neighbour(net, side) if neighbour else None
    attack = Process(["ip", "netns", "exec", side.netns, net.options.program("hostile_client"), side.socket, peer,
                      side.address if neighbour else peer, str(seconds or UNTIL_THE_BLOCK_ENDS), os.environ.get("SEED", "1")],
                     net.log_path("hostile"))
    side.processes.append(attack)
    try:
        eventually(lambda: not attack.running() or any(s.get("process") == "hostile_client" for s in side.sockets()), 10, "the attack begins")
        yield attack
        if well_behaved and not seconds:  # a short block on a busy machine may end too soon
            eventually(lambda: not attack.running() or has_broken_passages(side), 60, "the attacker breaks a passage", every=0.5)
        if attack.popen.poll() != (0 if seconds else None):
            raise Failed(f"the attacker ended with {attack.popen.returncode}\n{attack.tail()}")
    finally:
        attack.stop(signal.SIGKILL)
    check_ferryd(side)
    if well_behaved:
        check_neighbour(net, side, well_behaved)
    side.tier2_expected = True  # the attacker demotes sockets
    eventually(lambda: all(s.get("process") != "hostile_client" for s in side.sockets()), 10, "the attacker's sockets are gone")


def check_ferryd(side):
    if not side.ferryd.running():
        raise Failed(f"ferryd ended with {side.ferryd.popen.returncode} during the attack\n{side.ferryd.tail(60)}")
    if reports_of(side):
        raise Failed("ferryd reports:\n" + "\n".join(reports_of(side)[:20]))


def start_neighbour(net, side):
    echo = side.spawn(net.python("echo_anyone.py", "9101", "large" if net.options.scheme == "emulated" else "plain"))
    eventually(lambda: "ready" in echo.output()[0] or not echo.running(), 15, "the neighbour listens\n" + echo.tail())
    return echo


def has_broken_passages(side):
    return side.stat()["server"]["passages_broken"] > 0


def check_neighbour(net, side, echo):
    """It was attacked in passages, and goes on serving others."""
    counters = side.stat()["server"]
    print(", ".join(f"{name} {counters[name]}" for name in ("passages_entered", "passages_broken", "forced_moves", "passed_bytes",
                                                            "offered", "offers_taken_back")))
    if not has_broken_passages(side):
        raise Failed(f"the attacker broke no passage: {counters}")
    side.run(net.python("echo_client.py", "makefile", side.address, "9101"), timeout=60)
    if not echo.running():
        raise Failed(f"the neighbour ended\n{echo.tail()}")
    echo.stop()
