"""Runs a command and writes what it cost to a file, as getrusage tells: seconds of CPU of it and its children, peak memory.

Usage: measure.py REPORT COMMAND [ARGUMENT ...]. SIGTERM and SIGINT are passed on. Node cannot ask for a child's usage; Python,
which node-rdkafka's build needs anyway, can.
"""
import json
import os
import signal
import subprocess
import sys
import time

report, command = sys.argv[1], sys.argv[2:]
started = time.monotonic()
child = subprocess.Popen(command)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda received, _frame: os.kill(child.pid, received))
while True:
    try:
        _, status, usage = os.wait4(child.pid, 0)
        break
    except InterruptedError:
        continue
seconds = time.monotonic() - started
code = os.waitstatus_to_exitcode(status)
with open(report, "w", encoding="ascii") as out:
    json.dump({
        "code": code,
        "wallSeconds": seconds,
        "cpuSeconds": usage.ru_utime + usage.ru_stime,
        "peakMB": usage.ru_maxrss / 1024,
    }, out)
sys.exit(code if code >= 0 else 1)
