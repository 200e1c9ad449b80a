"""Counts lines with asynchat, as in its documentation."""

import asynchat
import asyncore
import socket


class Counter(asynchat.async_chat):
    def __init__(self, sock):
        super().__init__(sock)
        self.set_terminator(b"\r\n")
        self.data = []
        self.lines = 0
        self.bytes = 0

    def collect_incoming_data(self, data):
        self.data.append(data)

    def found_terminator(self):
        line = b"".join(self.data)
        self.data = []
        self.lines += 1
        self.bytes += len(line)

    def handle_close(self):
        print(self.lines, self.bytes, flush=True)
        self.close()


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
listener.close()
Counter(connection)
asyncore.loop(use_poll=True)
