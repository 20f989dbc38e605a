"""What a stream socket shows its program after a while of traffic: half-close, resets, readiness, back-pressure, urgent data, other processes.
Prints results only; compare.py runs it over the kernel and over Ferry, where by then the bytes go past ferryd."""
import socket, os, select, struct, time, signal, sys, array, threading, fcntl, errno, termios
PORT = 7790
ls = socket.socket(); ls.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); ls.bind(("127.0.0.1", PORT)); ls.listen(64)
def pair():
    c = socket.create_connection(("127.0.0.1", PORT)); a, _ = ls.accept(); c.settimeout(20); a.settimeout(20)
    for i in range(30):
        c.sendall(b"warm%d" % i); r = b""
        while len(r) < len(b"warm%d" % i): r += a.recv(100)
        a.sendall(r)
        g = b""
        while len(g) < len(r): g += c.recv(100)
    return c, a
def say(*x): print(*x, flush=True)
def err(f):
    try: return f()
    except OSError as e: return errno.errorcode.get(e.errno, str(e))
# 1 half close
c, a = pair(); c.sendall(b"request"); c.shutdown(socket.SHUT_WR)
say("half", a.recv(100), a.recv(100)); a.sendall(b"answer"); a.close(); say(c.recv(100), c.recv(100)); c.close()
# 2 RST on close with unread data
c, a = pair(); c.sendall(b"unread"); time.sleep(.05); a.close(); time.sleep(.05); say("rst", err(lambda: c.recv(10)), err(lambda: c.send(b"x")), err(lambda: c.send(b"x"))); c.close()
# 3 linger 0
c, a = pair(); a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); a.close(); time.sleep(.05); say("linger", err(lambda: c.recv(10))); c.close()
# 4 epoll edge
c, a = pair(); c.setblocking(False); ep = select.epoll(); ep.register(c, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
say("et", ep.poll(0.2)[0][1]); a.send(b"1"); say(ep.poll(1)[0][1] & 1); say(len(ep.poll(0.1))); a.send(b"2"); say(ep.poll(1)[0][1] & 1); say(c.recv(10)); say(len(ep.poll(.1))); a.shutdown(socket.SHUT_WR); say(ep.poll(1)[0][1] & select.EPOLLRDHUP != 0)
c.close(); a.close()
# 5 level
c, a = pair(); ep = select.epoll(); ep.register(c, select.EPOLLIN)
say("lt", ep.poll(0.05)); t = threading.Timer(.2, lambda: a.send(b"later")); t.start(); e = ep.poll(5); say(len(e)); say(len(ep.poll(0))); say(c.recv(3), len(ep.poll(0)), c.recv(10), len(ep.poll(0)))
# 6 poll and select blocked, woken by peer
t = threading.Timer(.2, lambda: a.send(b"p")); t.start(); say("select", len(select.select([c], [], [], 5)[0]), c.recv(5))
p = select.poll(); p.register(c, select.POLLIN); q = select.poll(); t = threading.Timer(.2, lambda: a.send(b"p")); t.start(); say("poll", len(p.poll(5000)), c.recv(5))
# 7 blocking recv with timeout and peek, waitall, rcvlowat
c.settimeout(.1); say("timeout", isinstance(err(lambda: c.recv(1)), str)); c.settimeout(None)
a.send(b"abcdef"); say(c.recv(3, socket.MSG_PEEK), c.recv(2), c.recv(100, socket.MSG_PEEK), c.recv(2, socket.MSG_TRUNC) is not None)
t = threading.Timer(.2, lambda: a.send(b"ghi")); t.start(); say(c.recv(5, socket.MSG_WAITALL))
c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 4); a.send(b"xy"); say("lowat", len(select.select([c], [], [], .1)[0])); a.send(b"zw"); say(len(select.select([c], [], [], 1)[0]), c.recv(9))
b = array.array("i", [0]); a.send(b"12345"); time.sleep(.02); fcntl.ioctl(c, termios.FIONREAD, b); say("fionread", b[0], c.recv(9))
c.close(); a.close()
# 8 back-pressure: buffers small
c, a = pair(); c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192); a.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192); c.setblocking(False)
n = 0
try:
    while n < 50_000_000: n += c.send(b"z" * 4096)
except BlockingIOError: pass
say("pressure", n < 49_000_000); ep = select.epoll(); ep.register(c, select.EPOLLOUT)
m = 0
while m < n: m += len(a.recv(65536))
say(m == n, len(ep.poll(1)))
c.close(); a.close()
# 9 urgent
c, a = pair(); c.sendall(b"before"); c.send(b"U", socket.MSG_OOB); c.sendall(b"after"); time.sleep(.1)
say("urgent", a.recv(100), err(lambda: a.recv(1, socket.MSG_OOB)), a.recv(100)); c.sendall(b"more"); say(a.recv(10)); c.close(); a.close()
# 10 fork: child reads and writes on, parent again
c, a = pair(); c.sendall(b"for child"); pid = os.fork()
if pid == 0:
    x = a.recv(100); a.sendall(b"child got " + x); os._exit(0)
os.waitpid(pid, 0); say("fork", c.recv(100)); a.sendall(b"parent again"); say(c.recv(100)); c.sendall(b"q"); say(a.recv(9)); c.close(); a.close()
# 11 kill -9 of a peer
r, w = os.pipe(); pid = os.fork()
if pid == 0:
    s = socket.create_connection(("127.0.0.1", PORT))
    for i in range(40): s.sendall(b"12345678"); s.recv(100)
    s.sendall(b"last words"); os.write(w, b"x"); time.sleep(100)
a, _ = ls.accept()
for i in range(40):
    d = b""
    while len(d) < 8: d += a.recv(8 - len(d))
    a.sendall(b"ok")
os.read(r, 1); os.kill(pid, 9); os.waitpid(pid, 0); say("killed", a.recv(100), err(lambda: a.recv(100))); a.close()
# 12 killed with unread data: reset
r, w = os.pipe(); pid = os.fork()
if pid == 0:
    s = socket.create_connection(("127.0.0.1", PORT))
    for i in range(40): s.sendall(b"12345678"); s.recv(100)
    os.write(w, b"x"); time.sleep(100)
a, _ = ls.accept(); a.settimeout(10)
for i in range(40):
    d = b""
    while len(d) < 8: d += a.recv(8 - len(d))
    a.sendall(b"ok")
os.read(r, 1); time.sleep(.05); a.sendall(b"never read"); os.kill(pid, 9); os.waitpid(pid, 0); say("reset", err(lambda: a.recv(100))); a.close()
# 13 SCM_RIGHTS to another process
c, a = pair(); x, y = socket.socketpair(); pid = os.fork()
if pid == 0:
    c.close(); a.close()
    fds = socket.recv_fds(y, 10, 1)[1]; s = socket.socket(fileno=fds[0]); s.settimeout(20); s.sendall(b"from the other: " + s.recv(100)); s.close(); os._exit(0)
c.sendall(b"rights"); socket.send_fds(x, [b"f"], [a.fileno()]); a.close(); say("rights", c.recv(100)); os.waitpid(pid, 0); say(c.recv(10)); c.close()
# 14 dup, exec with stdio (demotion)
c, a = pair(); c.sendall(b"line one\nline two\n"); pid = os.fork()
if pid == 0:
    os.dup2(a.fileno(), 0); os.dup2(a.fileno(), 1); os.execvp("cat", ["cat"])
a.close(); c.shutdown(socket.SHUT_WR); g = b""
while True:
    d = c.recv(100)
    if not d: break
    g += d
os.waitpid(pid, 0); say("exec", g); c.close()
# 15 shutdown RD, RDWR
c, a = pair(); c.sendall(b"pending"); time.sleep(.02); a.shutdown(socket.SHUT_RD); say("shut_rd", a.recv(100), a.recv(100)); a.sendall(b"still"); say(c.recv(100)); c.shutdown(socket.SHUT_RDWR); say(c.recv(10)); a.close(); c.close()
# 16 two threads blocked on one socket, threads write
c, a = pair(); out = []
ts = [threading.Thread(target=lambda: out.append(len(a.recv(4, socket.MSG_WAITALL)))) for _ in range(4)]
[t.start() for t in ts]; time.sleep(.1); c.sendall(b"aaaabbbbccccdddd"); [t.join() for t in ts]; say("threads", out); 
# 17 signal interrupts a blocking recv (handler raises)
class Alarm(Exception): pass
def h(*_): raise Alarm
c.settimeout(None); signal.signal(signal.SIGALRM, h); signal.setitimer(signal.ITIMER_REAL, .2)
try: c.recv(1); say("no")
except Alarm: say("alarm")
# 18 both ends at once, bulk both ways
def pump(s, n):
    d = b"q" * 70000
    while n > 0: n -= s.send(d[:min(n, len(d))])
def drain(s, n, out):
    while n > 0:
        k = len(s.recv(100000)); n -= k
        if k == 0: break
    out.append(n)
o = []; N = 30_000_000
ts = [threading.Thread(target=pump, args=(c, N)), threading.Thread(target=pump, args=(a, N)), threading.Thread(target=drain, args=(c, N, o)), threading.Thread(target=drain, args=(a, N, o))]
[t.start() for t in ts]; [t.join() for t in ts]; say("both", o)
# TCP_INFO
ti = c.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 240); ba = struct.unpack_from("Q", ti, 120)[0]; br = struct.unpack_from("Q", ti, 128)[0]
say("info", ba >= N * 0.9, br >= N * 0.9)
c.close(); a.close()
say("done")
