#!/usr/bin/env python3
"""record, script(1) and asciinema, each recording `seq 1 2000000` on a terminal of 24 x 80 that is
read as fast as it can be: the time, the CPU time with that of seq, and the bytes on the screen.

    cargo build --release --example record && bench/terminal/record.py [ROUNDS]
"""

import fcntl
import os
import pty
import shutil
import struct
import sys
import tempfile
import termios
import time

COMMAND = "seq 1 2000000"
RECORD = os.path.join(os.path.dirname(__file__), "../../target/release/examples/record")


def run(arguments):
    pid, master = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.execvp(arguments[0], arguments)
    begun = time.monotonic()
    shown = 0
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # the end of a terminal, on Linux
            break
        if not data:
            break
        shown += len(data)
    _, status, usage = os.wait4(pid, 0)
    os.close(master)
    assert status == 0, arguments
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime, shown


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as directory:
        path = lambda name: os.path.join(directory, name)
        programs = {
            "sh": ["sh", "-c", COMMAND],
            "record": [RECORD, "-o", path("cast"), "--", "sh", "-c", COMMAND],
            "script": ["script", "-q", "-c", COMMAND, "-T", path("timing"), path("typescript")],
            "asciinema": ["asciinema", "rec", "-q", "--overwrite", "-c", COMMAND, path("other.cast")],
        }
        for _ in range(rounds):
            for name, arguments in programs.items():
                if shutil.which(arguments[0]):
                    took, cpu, shown = run(arguments)
                    print(f"{name:10} {took:5.2f} s  CPU {cpu:5.2f} s  {shown} bytes shown", flush=True)


main()
