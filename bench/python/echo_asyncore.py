"""The echo server over asyncore, as in its documentation."""

import asyncore
import socket


class Echo(asyncore.dispatcher_with_send):
    def handle_read(self):
        data = self.recv(8192)
        if data:
            self.send(data)


class Server(asyncore.dispatcher):
    def __init__(self):
        super().__init__()
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.bind(("127.0.0.1", 0))
        self.listen(4096)

    def handle_accepted(self, sock, addr):
        Echo(sock)


server = Server()
print(server.socket.getsockname()[1], flush=True)
# Its select takes no descriptor from 1,024 on.
asyncore.loop(use_poll=True)
