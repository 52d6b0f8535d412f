"""What a cable between two hosts carries: one stream of 150 MB, and messages both ways at once, each after a pause.

usage: link.py listen PORT   and on another host   link.py HOST PORT [BYTES]

The listener prints one line. A limit that lets a message after a pause pass at once (a token bucket with a large burst) is no cable:
such a message takes BYTES over the rate of the stream, or the limit does not limit an exchange of that size.
"""
import socket
import statistics
import sys
import time

STREAM, PAUSE, ROUNDS = 150 << 20, 0.002, 200


def read(peer, count):
    while count > 0:
        got = len(peer.recv(min(count, 1 << 20)))
        if got == 0:
            sys.exit("link.py: the other end is gone")
        count -= got


def exchange(peer, count):
    peer.sendall(bytes(count))
    read(peer, count)


def main():
    listens, port = sys.argv[1] == "listen", int(sys.argv[2])
    if listens:
        with socket.create_server(("", port)) as server:
            peer, _ = server.accept()
        read(peer, 1)
        began = time.perf_counter()
        read(peer, STREAM)
        rate = STREAM / (time.perf_counter() - began)
        size = int.from_bytes(peer.recv(4, socket.MSG_WAITALL), "big")
    else:
        size = int(sys.argv[3]) if len(sys.argv) > 3 else 17000
        peer = socket.create_connection((sys.argv[1], port))
        peer.sendall(bytes(1 + STREAM))
        peer.sendall(size.to_bytes(4, "big"))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    took = []
    for _ in range(ROUNDS):
        time.sleep(PAUSE)
        exchange(peer, 1)
        began = time.perf_counter()
        exchange(peer, size)
        took.append(time.perf_counter() - began)
    if listens:
        middle = statistics.median(took)
        print(f"a stream {rate / 1e6:.0f} MB/s; {size} bytes both ways after a pause {middle * 1e6:.0f} us, {size / middle / 1e6:.0f} MB/s")


main()
