"""The loopback twin: a listener on 0.0.0.0 also accepts from programs on the kernel's 127.0.0.1 (src/preload/loopback_twin.h)."""
import subprocess

from cases import KERNEL_FERRY, case
from harness import Failed, Process, eventually

PYTHON = "/usr/bin/python3"
ASK = "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).recv(16).decode())"


def in_kernel(net, *words):
    """The words of a Python program of the server's namespace that uses the kernel's stack."""
    return ["ip", "netns", "exec", net.server.netns, PYTHON, *words]


def listener(net, port, *steps):
    """A late_listener.py and its port."""
    server = net.server.spawn(net.python("late_listener.py", port, *steps))
    eventually(lambda: server.output()[0] or not server.running(), 15, "a listener")
    if not server.running():
        raise Failed(server.tail())
    return server, server.output()[0].strip()


def expect_served(words, what):
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    if done.stdout != "served\n":
        raise Failed(f"{what}: {done.stdout}{done.stderr[-500:]}")


@case((KERNEL_FERRY,), timeout=60)
def twin_of_late_listener(net):
    """Whoever may bind at bind(2) has the port on the loopback too, whatever it has become when it listens."""
    for wanted, *steps in (["80"], ["81", "drop"], ["82", "fork", "drop"], ["0", "drop"]):
        server, port = listener(net, wanted, *steps)
        what = f"port {wanted}, {steps} after bind"
        expect_served(net.client.command([PYTHON, "-c", ASK, net.target, port]), what + ", from the network")
        expect_served(in_kernel(net, "-c", ASK, "127.0.0.1", port), what + ", from the loopback")
        server.stop()


@case((KERNEL_FERRY,), timeout=60)
def twin_of_bound_socket(net):
    """A socket that does not listen is in nobody's way on the loopback; one that does, works where the kernel's port is taken."""
    kernel = Process(in_kernel(net, "-m", "http.server", "--bind", "127.0.0.1", "8080"), net.log_path("kernel-listener"))
    try:
        eventually(lambda: "8080" in net.server.inside("ss", "-tlnH"), 10, "the kernel's listener")
        done = net.server.run(net.python("bound_only.py", "8080"))
        if done.out != "connected from the bound port True\nclosed, and free\n":
            raise Failed(f"bound_only.py prints\n{done.out}")
        if net.server.on_ferry():
            port = listener(net, "8080")[1]
            expect_served(net.client.command([PYTHON, "-c", ASK, net.target, port]), "beside a kernel's listener")
    finally:
        kernel.stop()


@case((KERNEL_FERRY,), timeout=60)
def twin_of_listener_that_is_shut_down(net):
    """Nobody gets in by the loopback any more, and the twin listens again with its listener."""
    done = net.server.run(net.python("shut_listener.py", "8080"))
    expected = "accept: EINVAL, epoll: [16], poll: [16]\nconnect: ECONNREFUSED\nserved\none that waited: ECONNRESET\n" * 2
    if done.out != expected:
        raise Failed(f"shut_listener.py prints\n{done.out}{done.err[-500:]}")
