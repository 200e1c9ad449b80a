#!/usr/bin/env python3
"""The reference for `conformance`: runs a scenario on the real asyncore/asynchat.

    python3.11 oracle.py --backend select|poll [--at-once N] SCENARIO.json [...]

asyncore and asynchat left the standard library in Python 3.12, so this needs
Python <= 3.11 (or the pyasyncore and pyasynchat packages). It prints, for each
scenario, one JSON line: what every channel's handlers saw and what every raw
peer received. FORMAT.md beside this file describes both formats. Scenarios mostly
wait: with --at-once, N processes perform them side by side, and the lines keep their order.

The reference is asyncore with the defects of the original mended, because the
crate must not inherit them, and only those:

1. A hang-up never hides data: POLLHUP or POLLERR closes a channel only when
   the same event is not also readable (the reader then sees the end itself).
2. An event is never delivered to a channel other than the one that was polled,
   even when its descriptor number was reused within the pass.
3. handle_close runs at most once for a channel, and no handler runs after close: a chat
   that closes in found_terminator gets none of the lines it had already received.
4. A connection completes whatever `writable()` answers: a connecting channel is always
   watched for writing, and then gets handle_write only if it answers true.
5. At the end of its input a chat collects what it was holding back because it could have
   been the beginning of a terminator.
"""

import argparse
import errno
import functools
import json
import multiprocessing
import os
import select
import socket
import struct
import sys
import tempfile
import time
import warnings
import zlib

warnings.simplefilter("ignore")
import asynchat  # noqa: E402
import asyncore  # noqa: E402

PASS_TIMEOUT = 0.02  # seconds each pass of the loop may wait
PEER_TIMEOUT = 2.0  # seconds a raw peer waits before the scenario is in error
FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX}


# --- asyncore with the defects above mended ------------------------------------

def fixed_readwrite(fd, obj, flags, channels):
    def alive():
        return channels.get(fd) is obj

    try:
        if flags & select.POLLIN:
            obj.handle_read_event()
        if flags & select.POLLOUT and alive():
            obj.handle_write_event()
        if flags & select.POLLPRI and alive():
            obj.handle_expt_event()
        gone = flags & (select.POLLHUP | select.POLLERR | select.POLLNVAL)
        if gone and not flags & select.POLLIN and alive():
            obj.handle_close()
    except OSError as e:
        if e.errno not in asyncore._DISCONNECTED:
            obj.handle_error()
        else:
            obj.handle_close()
    except asyncore.ExitNow:
        raise
    except Exception:
        obj.handle_error()


def fixed_poll2(timeout, channels):
    pollster = select.poll()
    polled = {}
    for fd, obj in list(channels.items()):
        flags = 0
        if obj.readable():
            flags |= select.POLLIN | select.POLLPRI
        if obj.writable() and not obj.accepting:
            flags |= select.POLLOUT
        if flags:
            pollster.register(fd, flags)
            polled[fd] = obj
    for fd, flags in pollster.poll(int(timeout * 1000)):
        if channels.get(fd) is polled[fd]:
            fixed_readwrite(fd, polled[fd], flags, channels)


def fixed_poll(timeout, channels):
    r, w, e, polled = [], [], [], {}
    for fd, obj in list(channels.items()):
        is_r, is_w = obj.readable(), obj.writable()
        if is_r:
            r.append(fd)
        if is_w and not obj.accepting:
            w.append(fd)
        if is_r or is_w:
            e.append(fd)
            polled[fd] = obj
    if not e:
        time.sleep(timeout)
        return
    r, w, e = select.select(r, w, e, timeout)
    for ready, deliver in ((r, asyncore.read), (w, asyncore.write), (e, asyncore._exception)):
        for fd in ready:
            if channels.get(fd) is polled[fd]:
                deliver(polled[fd])


# --- the trace ------------------------------------------------------------------------

def show(data):
    """Short data as latin-1 text, long data as its length and CRC-32."""
    data = bytes(data)
    if len(data) <= 128:
        return data.decode("latin-1")
    return {"len": len(data), "crc32": zlib.crc32(data)}


class Trace:
    """Per name, the events in order, normalised so that chunking does not show."""

    def __init__(self):
        self.events = {}

    def add(self, name, event, data=None):
        events = self.events.setdefault(name, [])
        names = [e[0] for e in events]
        last = names[-1] if names else None
        entry = [event] if data is None else [event, data]
        if event in ("recv", "collect", "received") and last == event:
            events[-1][1] += data
            return
        if event in ("handle_write", "handle_expt") and last == event:
            return
        if event == "handle_read":
            while names and names[-1] in ("recv", "collect", "log"):
                names.pop()
            if names and names[-1] == "handle_read" or last in ("recv", "collect"):
                return
        if event in ("handle_accept", "log") and entry in events:
            return
        events.append(entry)

    def dump(self):
        return {
            name: [[v if isinstance(v, (str, bool)) else show(v) for v in e] for e in events]
            for name, events in sorted(self.events.items())
        }


def payload(spec):
    """A string is latin-1 bytes; {"repeat": s, "times": n} is s repeated n times."""
    if isinstance(spec, dict):
        return spec["repeat"].encode("latin-1") * spec["times"]
    return spec.encode("latin-1")


# --- channels: each handler writes to the trace, then does what its behaviour says -----

class Traced:
    """Mixed into each kind of dispatcher. `behaviour` is the scenario's table for it."""

    def set_up(self, world, name, behaviour):
        self.world, self.name, self.b = world, name, behaviour
        self.gone = False
        self.children = 0

    def note(self, event, data=None):
        self.world.trace.add(self.name, event, data)

    def act(self, key, default):
        """Runs behaviour `key`; True when the scenario asks for the kind's own default."""
        what = self.b.get(key, default)
        if what == "raise":
            raise ValueError("the scenario says so")
        if what == "exit":
            raise asyncore.ExitNow()
        if what == "close":
            self.close()
        elif isinstance(what, dict) and "recv" in what:
            data = self.recv(what["recv"])
            if data:
                self.note("recv", data)
        elif isinstance(what, dict) and "send" in what:
            self.send(payload(what["send"]))
        elif isinstance(what, dict) and "echo" in what:
            data = self.recv(what["echo"])
            if data:
                self.note("recv", data)
                self.send(data)
        elif what == "oob":
            self.note("oob", self.socket.recv(16, socket.MSG_OOB))
        return what == "default"

    def readable(self):
        return self.b.get("readable", True)

    def log_info(self, message, type="info"):
        text = type if type == "error" else "%s: %s" % (type, message)
        self.note("log", text)

    def handle_connect(self):
        self.note("handle_connect")
        if self.act("on_connect", "nothing"):
            super().handle_connect()

    def handle_accept(self):
        self.note("handle_accept")
        if self.act("on_accept", "default"):
            super().handle_accept()

    def handle_accepted(self, sock, addr):
        self.note("handle_accepted")
        child = self.b.get("child")
        if child is None:
            super().handle_accepted(sock, addr)
            return
        self.children += 1
        self.world.make("%s.%d" % (self.name, self.children), child, sock)

    def handle_read(self):
        self.note("handle_read")
        if self.act("on_read", {"recv": 4096}):
            super().handle_read()

    def handle_write(self):
        self.note("handle_write")
        if self.act("on_write", "nothing"):
            super().handle_write()

    def handle_expt(self):
        self.note("handle_expt")
        if self.act("on_expt", "nothing"):
            super().handle_expt()

    def handle_error(self):
        self.note("handle_error")
        if self.act("on_error", "default"):
            super().handle_error()

    def handle_close(self):
        if self.gone:
            return
        self.gone = True
        self.note("handle_close")
        if self.act("on_close", "close"):
            super().handle_close()

    def close(self):
        self.gone = True
        super().close()

    def handle_write_event(self):
        if self.connecting and not self.connected:
            self.handle_connect_event()
            if self.gone or not self.writable():
                return
        super().handle_write_event()


class Plain(Traced, asyncore.dispatcher):
    ignore_log_types = ()

    def writable(self):
        return self.b.get("writable", False) or self.connecting


class Sending(Traced, asyncore.dispatcher_with_send):
    ignore_log_types = ()

    def handle_write(self):
        asyncore.dispatcher_with_send.handle_write(self)


class FileReader(Traced, asyncore.file_dispatcher):
    ignore_log_types = ()

    def writable(self):
        return self.b.get("writable", False)


class Chat(Traced, asynchat.async_chat):
    ignore_log_types = ()

    def set_up(self, world, name, behaviour):
        Traced.set_up(self, world, name, behaviour)
        self.set_terminator(terminator(behaviour.get("terminator")))
        self.found = 0

    handle_read = asynchat.async_chat.handle_read
    handle_write = asynchat.async_chat.handle_write

    def recv(self, size):
        try:
            data = self.socket.recv(size)
        except OSError as why:
            if why.errno not in asyncore._DISCONNECTED:
                raise
            data = None
        if data == b"" and self.ac_in_buffer:
            held, self.ac_in_buffer = self.ac_in_buffer, b""
            self.collect_incoming_data(held)
        if not data:
            self.handle_close()
        return data or b""

    def collect_incoming_data(self, data):
        if not self.gone:
            self.note("collect", bytes(data))

    def found_terminator(self):
        if self.gone:
            return
        self.note("found_terminator")
        script = self.b.get("script", [])
        if self.found < len(script):
            for action in script[self.found]:
                apply(self, action)
        self.found += 1


class Producer:
    """A producer that yields its pieces, then an empty one."""

    def __init__(self, pieces):
        self.pieces = [payload(p) for p in pieces]

    def more(self):
        return self.pieces.pop(0) if self.pieces else b""


def terminator(value):
    return value.encode("latin-1") if isinstance(value, str) else value


def apply(channel, action):
    """One method call on a channel: {"send": data}, {"push": data}, "close", ..."""
    if action == "close":
        channel.close()
    elif action == "close_when_done":
        channel.close_when_done()
    elif action == "discard_buffers":
        channel.discard_buffers()
    elif "send" in action:
        channel.send(payload(action["send"]))
    elif "push" in action:
        channel.push(payload(action["push"]))
    elif "produce" in action:
        channel.push_with_producer(Producer(action["produce"]))
    elif "set_terminator" in action:
        channel.set_terminator(terminator(action["set_terminator"]))
    elif "behave" in action:
        channel.b.update(action["behave"])
    else:
        raise SystemExit("unknown action %r" % (action,))


KINDS = {"dispatcher": Plain, "with_send": Sending, "chat": Chat}


# --- the world: channels in one map, raw blocking peers outside it ----------------------

class World:
    def __init__(self, scenario, poller, folder):
        self.scenario, self.folder = scenario, folder
        self.family = FAMILIES[scenario.get("family", "inet")]
        self.one_pass = fixed_poll2 if poller == "poll" else fixed_poll
        self.trace, self.map = Trace(), {}
        self.channels, self.peers = {}, {}

    def behaviour(self, name):
        return dict(self.scenario.get("channels", {}).get(name, {}))

    def make(self, name, behaviour, sock=None, kind=None):
        cls = kind or KINDS[behaviour.get("kind", "dispatcher")]
        channel = cls.__new__(cls)
        channel.set_up(self, name, dict(behaviour)) if cls is not Chat else None
        cls.__init__(channel, sock, self.map)
        if cls is Chat:
            channel.set_up(self, name, dict(behaviour))
        self.channels[name] = channel
        for action in behaviour.get("at_start", []):
            apply(channel, action)
        return channel

    def new_address(self):
        if self.family == socket.AF_UNIX:
            return os.path.join(self.folder, "s%d" % len(os.listdir(self.folder)))
        return ("127.0.0.1" if self.family == socket.AF_INET else "::1", 0)

    def raw(self, name, sock):
        sock.settimeout(PEER_TIMEOUT)
        self.peers[name] = sock

    def step(self, step):
        try:
            self.perform(step)
        except ConnectionError:
            if step["do"] not in ("send", "oob", "shutdown"):
                raise
            self.trace.add(step["peer"], "failed")
        except OSError as e:
            if step["do"] != "shutdown" or e.errno != errno.ENOTCONN:
                raise
            self.trace.add(step["peer"], "failed")

    def perform(self, step):
        do, peer, channel = step["do"], step.get("peer"), step.get("channel")
        if do == "run":
            for _ in range(step.get("passes", 10)):
                if not self.map:
                    break
                try:
                    self.one_pass(PASS_TIMEOUT, self.map)
                except asyncore.ExitNow:
                    self.trace.add("loop", "ExitNow")
                    break
        elif do == "listen":
            sock = socket.socket(self.family, socket.SOCK_STREAM)
            sock.bind(self.new_address())
            sock.listen(8)
            self.raw(peer, sock)
        elif do == "refusing":  # bound, and not listening
            sock = socket.socket(self.family, socket.SOCK_STREAM)
            sock.bind(self.new_address())
            self.raw(peer, sock)
        elif do == "connect":
            c = self.make(channel, self.behaviour(channel))
            c.create_socket(self.family, socket.SOCK_STREAM)
            try:
                c.connect(self.peers[peer].getsockname())
            except OSError as e:
                self.trace.add(channel, "connect_failed")
                c.close()
        elif do == "accept":
            self.raw(peer, self.peers[step["listener"]].accept()[0])
        elif do == "serve":
            c = self.make(channel, self.behaviour(channel))
            c.create_socket(self.family, socket.SOCK_STREAM)
            c.set_reuse_addr()
            c.bind(self.new_address())
            c.listen(step.get("backlog", 5))
        elif do == "dial":
            sock = socket.socket(self.family, socket.SOCK_STREAM)
            sock.settimeout(PEER_TIMEOUT)
            sock.connect(self.channels[channel].socket.getsockname())
            self.raw(peer, sock)
        elif do == "adopt":
            ours, theirs = socket.socketpair()
            self.raw(peer, theirs)
            self.make(channel, self.behaviour(channel), ours)
        elif do == "file":
            r, w = os.pipe()
            ours, theirs = (r, w) if step["mode"] == "r" else (w, r)
            self.peers[peer] = theirs
            self.make(channel, self.behaviour(channel), ours, kind=FileReader)
            os.close(ours)
        elif do == "regular_file":
            path = os.path.join(self.folder, "file")
            with open(path, "wb") as f:
                f.write(payload(step["data"]))
            fd = os.open(path, os.O_RDONLY)
            self.make(channel, self.behaviour(channel), fd, kind=FileReader)
            os.close(fd)
        elif do == "send":
            data = payload(step["data"])
            if isinstance(self.peers[peer], int):
                os.write(self.peers[peer], data)
            else:
                self.peers[peer].sendall(data)
        elif do == "oob":
            self.peers[peer].send(payload(step["data"]), socket.MSG_OOB)
        elif do == "shutdown":
            self.peers[peer].shutdown(socket.SHUT_WR)
        elif do == "close":
            if isinstance(self.peers[peer], int):
                os.close(self.peers.pop(peer))
            else:
                self.peers.pop(peer).close()
        elif do == "reset":
            sock = self.peers.pop(peer)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        elif do == "receive":
            self.receive(peer)
        elif do == "call":
            apply(self.channels[channel], step["action"])
        elif do == "state":
            c = self.channels[channel]
            self.trace.add(channel, "state", json.dumps({
                "connected": bool(c.connected), "accepting": bool(c.accepting),
                "in_map": c in self.map.values(),
            }, sort_keys=True))
        else:
            raise SystemExit("unknown step %r" % (step,))

    def receive(self, name):
        """All that is waiting for the raw peer, without blocking; then eof or reset if so."""
        peer = self.peers[name]
        fd = peer if isinstance(peer, int) else peer.fileno()
        while select.select([fd], [], [], PASS_TIMEOUT)[0]:
            try:
                data = os.read(fd, 65536)
            except ConnectionResetError:
                self.trace.add(name, "reset")
                return
            if not data:
                self.trace.add(name, "eof")
                return
            self.trace.add(name, "received", data)

    def tear_down(self):
        for c in list(self.map.values()):
            c.gone = True
            asyncore.dispatcher.close(c)
        for p in self.peers.values():
            os.close(p) if isinstance(p, int) else p.close()


def perform(path, backend):
    """Performs the scenario in a file. Returns its line."""
    with open(path, encoding="utf-8") as f:
        scenario = json.load(f)
    with tempfile.TemporaryDirectory() as folder:
        world = World(scenario, backend, folder)
        try:
            for step in scenario["steps"]:
                world.step(step)
        except SystemExit as e:  # a pool waits for ever for a process that exits
            raise ValueError(e) from e
        finally:
            world.tear_down()
    return json.dumps({"scenario": scenario["name"], "trace": world.trace.dump()}, sort_keys=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("select", "poll"), required=True)
    parser.add_argument("--at-once", type=int, default=1, metavar="N")
    parser.add_argument("scenario", nargs="+")
    args = parser.parse_args()
    one = functools.partial(perform, backend=args.backend)
    if args.at_once == 1:
        for path in args.scenario:
            print(one(path), flush=True)
        return
    with multiprocessing.get_context("fork").Pool(min(args.at_once, len(args.scenario))) as pool:
        for line in pool.imap(one, args.scenario):
            print(line, flush=True)


if __name__ == "__main__":
    main()
