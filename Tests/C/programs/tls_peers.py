"""Starts tls_server, meets it with peers of each kind, and tells what does not hold.

    tls_peers.py CERTIFICATE KEY MS COMMAND ...    COMMAND is the server, and what it runs under; it
                                                   gets CERTIFICATE KEY 0 MS as arguments
"""

import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

certificate, key, milliseconds, *command = sys.argv[1:]
patience = int(milliseconds) / 1000
context = ssl.create_default_context(cafile=certificate)


def connect():
    connection = socket.create_connection(("127.0.0.1", port))
    connection.settimeout(60)
    return connection


def connect_tls():
    return context.wrap_socket(connect(), server_hostname="localhost")


def receive(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(65536)
        assert part, f"the end after {len(data)} of {count} bytes"
        data += part
    return data


def pattern(count):
    return bytes(i * 7 % 251 for i in range(4096)) * (count // 4096)


def processor_time():
    """Of the server, in seconds."""
    with open(f"/proc/{server.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fill(connection, data):
    """Sends until nothing more can be sent, and returns how much that was."""
    sent = 0
    connection.setblocking(False)
    while sent < len(data) and select.select([], [connection], [], 0.2)[1]:
        try:
            sent += connection.send(data[sent : sent + 16384])
        except ssl.SSLWantWriteError:
            pass
    assert 0 < sent < len(data), f"{sent} bytes were sent unread"
    return sent


def a_record_longer_than_the_buffer():
    """After one read the socket is empty, and the rest is inside the server's OpenSSL."""
    with connect_tls() as connection:
        for _ in range(10):
            connection.sendall(pattern(16384))
            assert receive(connection, 16384) == pattern(16384), "other data"


def more_than_the_sockets_hold():
    """The server waits until it can write, and goes on with what is inside its OpenSSL."""
    data = pattern(20 << 20)
    with connect_tls() as connection:
        sent = fill(connection, data)
        before = processor_time()
        time.sleep(0.5)
        used = processor_time() - before
        assert used < 0.1, f"the server has used the processor for {used} s of 0.5"
        parts, count = [], 0
        while count < len(data):
            wanted = [connection] if sent < len(data) else []
            assert any(select.select([connection], wanted, [], 60)), f"silence after {count} bytes"
            try:
                while sent < len(data):
                    sent += connection.send(data[sent : sent + 16384])
            except ssl.SSLWantWriteError:
                pass
            try:
                while part := connection.recv(65536):
                    parts.append(part)
                    count += len(part)
                assert count == len(data), f"the end after {count} bytes"
            except ssl.SSLWantReadError:
                pass
        assert b"".join(parts) == data, "other data"


def a_farewell_is_answered():
    connection = connect_tls()
    connection.sendall(b"hello")
    receive(connection, 5)
    connection.unwrap().close()


def a_peer_that_goes_without_one():
    """The server reads, and writes to a closed connection: EPIPE, and SIGPIPE if nobody has cared."""
    connection = connect_tls()
    connection.sendall(b"hello")
    receive(connection, 5)
    server.send_signal(signal.SIGSTOP)
    connection.sendall(b"hello")
    socket.socket.shutdown(connection, socket.SHUT_WR)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    server.send_signal(signal.SIGCONT)
    a_farewell_is_answered()


def no_tls_at_all():
    with connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        try:
            while connection.recv(65536):
                pass  # an alert
        except ConnectionResetError:  # it has not read all
            pass


def deadlines():
    """Who does not finish the handshake, or falls silent, is closed in time; who talks, is not."""
    start = time.monotonic()
    peers = {"mute": connect(), "slow": connect(), "silent": connect_tls()}
    talking = connect_tls()
    peers["silent"].sendall(b"x")
    receive(peers["silent"], 1)
    ends = {}

    def await_end(name):
        try:
            assert peers[name].recv(1) == b""
        except ConnectionResetError:
            pass
        ends[name] = time.monotonic() - start

    for name in peers:
        threading.Thread(target=await_end, args=(name,), daemon=True).start()
    hello = iter(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(505))
    while len(ends) < len(peers) or time.monotonic() - start < 2 * patience:
        talking.sendall(b"x")
        receive(talking, 1)
        if "slow" not in ends:
            try:
                peers["slow"].send(bytes([next(hello)]))
            except OSError:  # it has just been closed
                pass
        assert time.monotonic() - start < 20 * patience, f"only {ends} are closed"
        time.sleep(patience / 20)
    for name, end in ends.items():
        assert end >= patience, f"{name}: closed after {end} s"
    talking.close()


def run(name, test):
    try:
        test()
    except (AssertionError, OSError) as error:
        server.kill()
        sys.exit(f"{name}: {test.__name__}: {error!r}")


server = subprocess.Popen([*command, certificate, key, "0", milliseconds], stdout=subprocess.PIPE)
port = int(server.stdout.readline().decode().partition(":")[2].split()[0])
for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    context.minimum_version = context.maximum_version = version
    for test in (
        a_record_longer_than_the_buffer,
        more_than_the_sockets_hold,
        a_farewell_is_answered,
        a_peer_that_goes_without_one,
        no_tls_at_all,
    ):
        run(version.name, test)
run("TLS", deadlines)
server.send_signal(signal.SIGTERM)
if server.wait(60) != 0:
    sys.exit(f"the server ended with {server.returncode}")
