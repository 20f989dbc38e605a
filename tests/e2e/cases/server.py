"""What programs see when their server ends under them: an error once, and then nothing. A program that goes on waiting uses no CPU."""
import os
import time

from cases import FERRY_KERNEL, KERNEL_FERRY, case
from cases.bulk import usage
from cases.databases import start_redis
from cases.http import start_nginx
from cases.ssh import Sshd
from cases.tools import start_dnsmasq
from harness import Failed, eventually

SECONDS = 3
KINDS = ("asyncio", "threading", "poll", "select", "epoll", "epoll-edge")


def tree(side, pid):
    """A program with its children: the processes of the namespace in its session."""
    return [p for p in side.pids() if os.getsid(p) == os.getsid(pid)]


@case((KERNEL_FERRY,), timeout=100, serial=True, needs=("nginx", "redis-server", "sshd", "dnsmasq"))
def killed_server(net):
    """kill -9 of ferryd under idle servers of all kinds: whatever goes on running is quiet, and a new ferryd serves new programs."""
    side = net.server
    sshd = Sshd(side, net)
    programs = {"nginx": start_nginx(side, net), "redis": start_redis(side, net), "sshd": sshd.process, "dnsmasq": start_dnsmasq(side, net)}
    for number, kind in enumerate(KINDS):
        server = side.spawn(net.python("servers.py", kind, str(9500 + number)))
        side.wait_listening(9500 + number, process=server)
        programs["python " + kind] = server
    kept = net.client.spawn(net.python("connections.py", "hold", net.target, "9500", "5"), stdin=os.pipe()[0])
    eventually(lambda: "holding" in kept.output()[0] or not kept.running(), 20, "open connections\n" + kept.tail())

    side.watch.stop()
    side.ferryd.stop(9)
    time.sleep(1)  # what they do about it
    running = {name: tree(side, process.pid) for name, process in programs.items() if process.running()}
    before = {name: [usage(pid) for pid in pids] for name, pids in running.items()}
    time.sleep(SECONDS)
    busy = []
    for name, pids in running.items():
        after = [usage(pid) for pid in pids if os.path.exists(f"/proc/{pid}")]
        milliseconds = sum(now[0] - then[0] for now, then in zip(after, before[name]))
        switches = sum(now[1] - then[1] for now, then in zip(after, before[name]))
        if milliseconds > 10 * SECONDS or switches > 200 * SECONDS:
            busy.append(f"{name}: {milliseconds} ms of CPU, {switches} context switches in {SECONDS} s")
    if busy:
        raise Failed("not quiet after the death of ferryd:\n  " + "\n  ".join(busy))
    for process in programs.values():
        process.stop()
    side.start_ferryd("eth0")
    start_redis(side, net)
    net.client.run(["redis-cli", "-h", net.target, "ping"])


@case((FERRY_KERNEL,), timeout=60)
def killed_server_unheard(net):
    """kill -9 of ferryd under programs that block all signals: each is told."""
    server = net.server.spawn(net.python("servers.py", "threading", "9520"))
    net.server.wait_listening(9520, process=server)
    programs = {how: net.client.spawn(net.python("deaf.py", net.target, "9520", how)) for how in ("epoll", "poll", "recv")}
    for how, program in programs.items():
        eventually(lambda p=program: "waiting" in p.output()[0] or not p.running(), 20, how + " waits")
    net.client.watch.stop()
    net.client.ferryd.stop(9)
    for how, program in programs.items():
        ended = program.wait(20)
        if ended.code != 0 or not ended.out.endswith("came: HUP\n" if how != "recv" else "came: [Errno 100] Network is down\n"):
            raise Failed(f"{how} was told\n{program.tail()}")
    net.client.start_ferryd("eth0")
    net.client.kernel_use_expected = True  # this ferryd may not have received a frame
