"""Two clients of one ferryd of which one is killed, or stopped, while their bytes go past ferryd: the other one sees what TCP would show it,
ferryd keeps nothing of them, and others notice nothing."""
import os
import random
import signal
import struct
import threading
import time

from cases import FERRY_FERRY, KERNEL_FERRY, SELF, case
from cases.bulk import transfer
from evidence import number
from harness import Failed, eventually

PORT = 9500


class Pair:
    """Two flow.py, in a passage. `ways`: what the first does, "send", "receive" or "both"; the second the contrary."""

    def __init__(self, net, ways, turn, large):
        self.large = large
        self.net, self.ways = net, (ways, {"send": "receive", "receive": "send", "both": "both"}[ways])
        self.notes = [net.file(f"note-{turn}-{end}", bytes(8)) for end in range(2)]
        port = str(PORT + turn % 100)
        server = self.start("serve", port, 0)
        eventually(lambda: "ready" in server.output()[0] or not server.running(), 15, "the server listens\n" + server.tail())
        self.ends = server, self.start("connect", port, 1)
        eventually(self.is_passing, 20, f"a passage for {ways}\n{server.tail()}{self.ends[1].tail()}")

    def start(self, role, port, end):
        return self.net.client.spawn(self.net.python("flow.py", role, self.net.target, port, self.ways[end], self.notes[end]),
                                     env={"LARGE": "1"} if self.large else None)

    def is_passing(self):
        pids = [end.pid for end in self.ends]
        return sum(s.get("mode") == "passing" and s["pid"] in pids and s["passed_out"] + s["passed_in"] > 0
                   for s in self.net.client.sockets()) == 2

    def sent(self, end):
        with open(self.notes[end], "rb") as note:
            return struct.unpack("=Q", note.read(8))[0]

    def check_survivor(self, killed):
        """How it ended for the one that was not killed."""
        done = self.ends[1 - killed].wait(20)
        what = f"{self.ways[killed]} was killed, for {self.ways[1 - killed]} it ended so: {done.code} {done.out}{done.err}"
        if done.code != 0:
            raise Failed(what)
        came, how = done.out.splitlines()[-1].split()
        # Who only sends has nothing unread when it dies, so all that its sends have taken arrives, and then the end.
        if self.ways[killed] == "send" and (how != "eof" or int(came) < self.sent(killed)):
            raise Failed(f"{what}; it had sent {self.sent(killed)}")


def kill(pair, end, dice):
    time.sleep(dice.uniform(0, 0.1))
    os.kill(pair.ends[end].pid, signal.SIGKILL)


def stop_and_kill(pair, end, dice):
    os.kill(pair.ends[end].pid, signal.SIGSTOP)
    kill(pair, end, dice)


def stop_and_continue(pair, end, dice):
    """It is as if nothing had been; then it is killed."""
    sender = 1 if pair.ways[0] == "receive" else 0
    for _ in range(3):
        os.kill(pair.ends[end].pid, signal.SIGSTOP)
        time.sleep(dice.uniform(0, 0.2))
        os.kill(pair.ends[end].pid, signal.SIGCONT)
        before = pair.sent(sender)
        eventually(lambda: pair.sent(sender) > before + (1 << 20), 10, "bytes flow again")
    kill(pair, end, dice)


def kept(net):
    """What ferryd has of its clients: descriptors, mappings of passages, and what it says itself."""
    pid, descriptors = net.client.ferryd.pid, len(os.listdir(f"/proc/{net.client.ferryd.pid}/fd"))
    stat = net.client.stat()
    with open(f"/proc/{pid}/maps") as maps:
        mapped = maps.read()
    regions = mapped.count("memfd:ferry-peers") + mapped.count("memfd:ferry-region")
    memory = stat["memory"]
    return {"descriptors": descriptors, "regions": regions, "clients": stat["clients"],
            "channels": memory["channels"], "staging": memory["staging_bytes"], "input": memory["input_bytes"],
            "sockets": len([s for s in net.client.sockets() if s.get("pid")]),
            "passages": number(stat, "server", "passages_entered") - number(stat, "server", "passages_left")}


def part(net, rounds, large):
    dice = random.Random(int(os.environ.get("SEED", "1")))
    time.sleep(0.3)  # ferryd closes its end of what asked it last
    before, problems, over = kept(net), [], threading.Event()

    def go_on():
        while not over.is_set() and not problems:
            try:
                transfer(net, 8, 2, 60)
            except Failed as problem:
                problems.append(problem)

    others = threading.Thread(target=go_on)
    others.start()
    try:
        for turn in range(rounds):
            # Every way of dying with every direction, and either end.
            die, ways, end = (kill, stop_and_kill, stop_and_continue)[turn % 3], ("send", "receive", "both")[turn // 3 % 3], dice.randrange(2)
            pair = Pair(net, ways, turn, large)
            die(pair, end, dice)
            pair.check_survivor(end)
            if problems:
                raise problems[0]
    finally:
        over.set()
        others.join()
    if problems:
        raise problems[0]
    eventually(lambda: kept(net) == before, 20, f"ferryd forgets all of them: {before} before, {kept(net)} after")


@case((SELF,), timeout=200)
def parted_same_host(net):
    part(net, 400 if net.options.full else 9, large=False)


@case((SELF,), timeout=200)
def parted_same_host_pages(net):
    """Some of the bytes in the passage are pages of the one that dies, or of the one that lives on."""
    net.options.scheme = "emulated"
    before = net.client.stat()["server"]["referenced_out"]
    part(net, 400 if net.options.full else 9, large=True)
    if net.client.stat()["server"]["referenced_out"] - before < 64 << 20:
        raise Failed("hardly any page was referred to")


@case((FERRY_FERRY, KERNEL_FERRY, SELF))
def workers(net):
    """Two processes accept from one listener: one that stands still, or dies, takes no connection with it that it has not accepted."""
    server = net.server.spawn(net.python("workers.py", "serve", "9500"))
    eventually(lambda: "ready" in server.output()[0], 10, "the workers accept\n" + server.tail())
    first, second = (int(line.split()[1]) for line in server.output()[0].splitlines() if line.startswith("worker"))

    def asking_for(count):
        return net.python("workers.py", "ask", net.target, "9500", str(count))

    def answers_in(out):
        return [int(word) for word in out.split() if word.isdigit()]

    def ask(count):
        return answers_in(net.client.run(asking_for(count), timeout=40).out)

    for _ in range(5):
        ask(20)
    os.kill(first, signal.SIGSTOP)
    served = set(ask(10) + ask(10))
    # What it had accepted when it stopped would have to wait for it; it was idle.
    if served != {second}:
        raise Failed(f"{served} served while only {second} went on")
    os.kill(first, signal.SIGCONT)
    ask(20)
    os.kill(second, signal.SIGSTOP)
    ask(5)
    os.kill(second, signal.SIGCONT)
    for _ in range(3):
        ask(20)
    # Both stand still, and each is offered a connection; then one dies.
    os.kill(first, signal.SIGSTOP)
    os.kill(second, signal.SIGSTOP)
    before = number(net.server.stat(), "server", "offered")
    asking = net.client.spawn(asking_for(10))
    eventually(lambda: number(net.server.stat(), "server", "offered") >= before + 2, 10, "both are offered a connection")
    time.sleep(0.2)
    os.kill(second, signal.SIGKILL)
    time.sleep(0.1)
    os.kill(first, signal.SIGCONT)
    out = asking.wait(40)
    served = set(answers_in(out.out) + ask(20))
    if out.code != 0 or served != {first}:
        raise Failed(f"{served} served after {second} was killed\n{asking.tail()}")
    counters = net.server.stat()["server"]
    print(", ".join(f"{name} {counters[name]}" for name in ("accepted", "offered", "offers_taken_back")))
    if counters["offered"] == 0:
        raise Failed("nothing was offered")
    os.kill(first, signal.SIGKILL)
