"""redis, memcached and PostgreSQL."""
import glob
import os
import re
import shutil

from cases import CLIENT_AND_SERVER, EVERYWHERE, LOOPBACK, case
from harness import Failed, eventually


def start_redis(side, net):
    process = side.spawn(["redis-server", "--port", "6379", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "",
                          "--dir", net.folder, "--dbfilename", "dump.rdb"])
    side.wait_listening(6379, process=process)
    return process


def command_of(pid):
    with open(f"/proc/{pid}/cmdline") as line:
        return line.read()


def maps_channel(pid):
    with open(f"/proc/{pid}/maps") as lines:
        return any("ferry-channel" in line for line in lines)


@case(EVERYWHERE, timeout=90, needs=("redis-server", "redis-cli", "redis-benchmark"))
def redis(net):
    start_redis(net.server, net)

    def cli(*words, **how):
        return net.client.run(["redis-cli", "-h", net.target, *words], **how).out.strip()

    big = "0123456789abcdef" * 65536  # 1 MiB
    net.file("big", big)
    with open(os.path.join(net.folder, "big"), "rb") as value:
        if cli("-x", "SET", "big", stdin=value) != "OK":
            raise Failed("SET of 1 MiB")
    if cli("GET", "big") != big:
        raise Failed("GET gave other bytes than SET took")

    out = net.client.run(["redis-benchmark", "-h", net.target, "-c", "50", "-n", "20000", "-q", "-t", "set,get,lpush"]).out
    if len(re.findall(r"requests per second", out)) < 3:
        raise Failed(f"redis-benchmark says: {out}")
    out = net.client.run(["redis-benchmark", "-h", net.target, "-c", "20", "-n", "50000", "-P", "32", "-q", "-t", "get"]).out
    if "requests per second" not in out:
        raise Failed(f"redis-benchmark -P says: {out}")

    # A forked child writes the snapshot while the parent serves; it has nothing of the parent's channel.
    before = cli("LASTSAVE")
    cli("CONFIG", "SET", "rdb-key-save-delay", "100000")
    cli("BGSAVE")
    if net.server.on_ferry():
        savers = [p for p in net.server.pids() if maps_channel(p) is False and "redis-rdb" in command_of(p)]
        if not savers or not maps_channel(int(cli("INFO", "server").split("process_id:")[1].split()[0])):
            raise Failed("the forked child that saves sees memory of the channel, or the server has none")
    cli("CONFIG", "SET", "rdb-key-save-delay", "0")
    eventually(lambda: cli("LASTSAVE") != before or os.path.exists(os.path.join(net.folder, "dump.rdb")), 15, "BGSAVE ends")
    subscriber = net.client.spawn(["redis-cli", "-h", net.target, "SUBSCRIBE", "news"])
    eventually(lambda: cli("PUBLISH", "news", "arrived") != "0", 10, "a subscriber hears")
    eventually(lambda: "arrived" in subscriber.output()[0], 10, "the message reaches the subscriber")


@case(EVERYWHERE, needs=("memcached",))
def memcached(net):
    process = net.server.spawn(["memcached", "-u", "nobody", "-t", "4", "-p", "11211", "-l", "0.0.0.0", "-U", "0"])
    net.server.wait_listening(11211, process=process)
    net.client.run(net.python("memcached_client.py", net.target, "11211"))


class Postgres:
    """A throw-away PostgreSQL server, which runs as user postgres and forks for every connection."""

    def __init__(self, side, net):
        tools = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not tools:
            raise Failed("PostgreSQL's server is not installed")
        self.net, self.tools, self.data = net, tools[-1], os.path.join(net.folder, "pgdata")
        os.makedirs(self.data, mode=0o700)
        os.makedirs(os.path.join(net.folder, "pgrun"))
        for path in (self.data, os.path.join(net.folder, "pgrun")):
            shutil.chown(path, "postgres", "postgres")
        net.system(f"setpriv --reuid=postgres --regid=postgres --clear-groups "
                   f"{self.tools}/initdb -D {self.data} -A trust -E UTF8 --no-locale --no-sync", cwd=net.folder)
        with open(os.path.join(self.data, "pg_hba.conf"), "a") as out:
            out.write("host all all 0.0.0.0/0 trust\n")
        self.process = side.spawn([f"{self.tools}/postgres", "-D", self.data, "-c", "listen_addresses=0.0.0.0",
                                   "-c", f"unix_socket_directories={net.folder}/pgrun", "-c", "fsync=off",
                                   "-c", "max_connections=50"], user="postgres", cwd=net.folder)
        side.wait_listening(5432, process=self.process, seconds=20)
        eventually(lambda: "ready to accept connections" in self.process.output()[1], 20, "PostgreSQL is ready\n" + self.process.tail())


@case(CLIENT_AND_SERVER + (LOOPBACK,), timeout=120, needs=("psql", "pgbench"))
def postgres(net):
    Postgres(net.server, net)
    base = ["-h", net.target, "-U", "postgres"]

    def pgbench(*words):
        out = net.client.run(["pgbench", *base, *words, "postgres"]).out
        if "number of failed transactions: 0" not in out and "-i" not in words:
            raise Failed(f"pgbench {' '.join(words)} says:\n{out}")

    net.client.run(["psql", *base, "-c", "select 1", "postgres"])
    pgbench("-i", "-q", "-s", "2")
    pgbench("-c", "8", "-j", "2", "-t", "100")
    pgbench("-c", "4", "-j", "2", "-t", "20", "-C")  # a connection, so a forked backend, per transaction
    # 20 MB out of the server and back in.
    out = net.client.run(["psql", *base, "-At", "-c",
                          "select count(*), sum(length(t)) from (select repeat(md5(i::text), 32) as t from "
                          "generate_series(1, 20000) i) s", "postgres"]).out.strip()
    if out != "20000|20480000":
        raise Failed(f"psql says {out}")
    rows = net.client.run(["psql", *base, "-At", "-c", "select repeat(md5(i::text), 32) from generate_series(1, 20000) i",
                           "postgres"]).out
    if len(rows) != 20000 * 1025:
        raise Failed(f"{len(rows)} bytes of rows instead of {20000 * 1025}")
