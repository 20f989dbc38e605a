"""deaf.py HOST PORT epoll | poll | recv: blocks all signals and waits for a connection that nothing comes from, for 30 s. Says what came."""
import select
import signal
import socket
import sys

HOST, PORT, HOW = sys.argv[1], int(sys.argv[2]), sys.argv[3]
signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
pair = [socket.create_connection((HOST, PORT)) for _ in range(2)]
print("waiting", flush=True)
if HOW == "recv":
    try:
        print("came:", pair[0].recv(1))
    except OSError as error:
        print("came:", error)
else:
    poller = select.epoll() if HOW == "epoll" else select.poll()
    for sock in pair:
        poller.register(sock.fileno(), select.POLLIN)
    told = poller.poll(30 if HOW == "epoll" else 30_000)
    print("came: HUP" if told and told[0][1] & select.POLLHUP else f"came: {told}")
