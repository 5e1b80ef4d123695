#!/usr/bin/env python3
"""The server of chapter 11 in another language, with nothing but its standard library.

It shows that `cargo run -- check` examines any server that speaks the protocol:

    cargo run -- check 11-cancel -- python3 code/examples/11-chat.py {addr}

Coroutines of asyncio run one at a time, so this one needs no broker: whoever runs has the map of
peers to itself until it awaits.
"""

import asyncio
import itertools
import os
import signal
import socket
import sys

GRACE = 5  # seconds that a shutdown waits for a peer that does not read
LINGER = 1  # seconds that a client may take to close its half after we have closed ours

# What Unicode calls white space; `strip` by itself takes U+001C to U+001F along.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)

peers = {}  # name: (number of the connection, its queue)
numbers = itertools.count()
stopping = asyncio.Event()
listening = []  # the listener, once there is one


def report(line):
    print(line, file=sys.stderr, flush=True)


async def lines(reader):
    """The lines of a client, until it has finished, the server stops, or one is not UTF-8."""
    stop = asyncio.create_task(stopping.wait())
    try:
        while not stopping.is_set():
            read = asyncio.create_task(reader.readline())
            await asyncio.wait({read, stop}, return_when=asyncio.FIRST_COMPLETED)
            if stop.done():
                read.cancel()
                await asyncio.wait({read})  # nobody else may read before that
                return
            line = await read
            if not line:
                return
            yield line.decode("utf-8").strip(WHITE_SPACE)
    finally:
        stop.cancel()


async def connection(client):
    number = next(numbers)
    client.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=client, limit=2**30)
    address = writer.get_extra_info("peername")
    if address is None:
        writer.close()
        return
    report("accepted %s:%d" % address[:2])
    client = lines(reader)
    name, writing = None, None
    try:
        name = await anext(client, None)
        if name is None:
            report("error: a connection ended without a name")
        elif name == "":
            report("error: a client sent an empty name")
        elif name in peers and peers[name][0] > number:
            pass  # an old login that was overtaken
        else:
            queue = asyncio.Queue()
            if name in peers:
                peers[name][1].put_nowait(None)
            peers[name] = (number, queue)
            read = asyncio.Event()
            writing = asyncio.create_task(write(name, queue, writer, read))
            async for line in client:
                deliver(name, line)
    except (UnicodeDecodeError, OSError) as error:
        report(f"error: {error}")
    finally:
        await client.aclose()
    if writing is None:
        writer.close()
        return
    if name in peers and peers[name][0] == number:
        del peers[name]
        queue.put_nowait(None)
    try:
        while await reader.read(65536):
            pass
    except OSError:
        pass  # nothing more comes, which is all that this waits for
    read.set()
    await writing


def deliver(sender, line):
    destinations, colon, text = line.partition(":")
    if not colon:
        return
    names = sorted({name.strip(WHITE_SPACE) for name in destinations.split(",")})
    report(f"{sender} to {', '.join(names)}: {text.strip(WHITE_SPACE)}")  # as chapter 05 does
    for name in names:
        if name in peers:
            peers[name][1].put_nowait(f"from {sender}: {text.strip(WHITE_SPACE)}\n")
        else:
            report(f"{sender} to {name}: not reachable yet")  # as chapter 06 does


async def write(name, queue, writer, read):
    async def write_all():
        while (line := await queue.get()) is not None:
            writer.write(line.encode())
            await writer.drain()
        writer.write_eof()
        while writer.transport.get_write_buffer_size() > 0:
            await asyncio.sleep(0.01)
        try:
            await asyncio.wait_for(read.wait(), LINGER)
        except asyncio.TimeoutError:
            pass  # it had its time

    work = asyncio.create_task(write_all())
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    await asyncio.wait({work}, timeout=GRACE)
    if not work.done():
        work.cancel()
        report(f"error: {name} does not read; giving up on it")
    elif work.exception():
        report(f"error: {work.exception()}")
    writer.transport.abort()


def stop():
    if stopping.is_set():
        os._exit(130)
    for listener in listening:
        asyncio.get_running_loop().remove_reader(listener)
        listener.close()
    stopping.set()


def accept(listener, connections):
    # asyncio.start_server may keep who comes in while it closes: python/cpython issue 109564.
    try:
        client, _ = listener.accept()
    except (BlockingIOError, ConnectionAbortedError):
        return  # who was there has gone
    task = asyncio.create_task(connection(client))
    connections.add(task)
    task.add_done_callback(connections.discard)


async def main(address):
    loop = asyncio.get_running_loop()
    # Who can connect can also send a signal, so the handlers come first.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    host, _, port = address.rpartition(":")
    connections = set()
    listener = socket.create_server((host, int(port)), backlog=128)
    listener.setblocking(False)
    loop.add_reader(listener, accept, listener, connections)
    listening.append(listener)
    print("listening on %s:%d" % listener.getsockname()[:2], flush=True)
    await stopping.wait()
    if connections:
        await asyncio.wait(connections)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8080"))
