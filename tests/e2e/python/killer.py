"""killer.py HOST PORT ROUNDS SEED COMMAND…: starts COMMAND again and again and kills it, and its forked child, at random instants."""
import contextlib
import os
import random
import signal
import subprocess
import sys
import time

rounds, dice, command = int(sys.argv[3]), random.Random(int(sys.argv[4])), sys.argv[5:]
for turn in range(rounds):
    victim = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # From the middle of its start to well into its work.
    time.sleep(dice.uniform(0.02, 0.4))
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim.pid, signal.SIGKILL)  # the child goes on alone for a moment
    time.sleep(dice.uniform(0, 0.05))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
