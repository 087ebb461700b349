"""Runs statements on the development PostgreSQL, which has no psql: sql.py PORT DATABASE STATEMENTS.

The simple query protocol, as the superuser `postgres`, without a password and without TLS. Rows go to stdout, one a
line, tabs between the columns; NULL is empty. A refusal goes to stderr with exit code 1.
"""

import socket
import struct
import sys


def message(tag: bytes, body: bytes) -> bytes:
    return tag + struct.pack("!i", len(body) + 4) + body


def answers(stream):
    while head := stream.read(5):
        tag, length = struct.unpack("!ci", head)
        yield tag, stream.read(length - 4)


def columns(body: bytes):
    (count,), at = struct.unpack_from("!h", body), 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", body, at)
        at += 4
        yield "" if length < 0 else body[at : at + length].decode()
        at += max(length, 0)


def complaint(body: bytes) -> str:
    fields = {part[:1]: part[1:].decode() for part in body.split(b"\0") if part}
    return f"{fields.get(b'S')}: {fields.get(b'M')}"


def run(port: int, database: str, statements: str) -> int:
    refused = 0
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as stream:
        words = f"user\0postgres\0database\0{database}\0client_encoding\0UTF8\0\0".encode()
        connection.sendall(message(b"", struct.pack("!i", 196608) + words))
        asked = False
        for tag, body in answers(stream):
            if tag == b"Z" and asked:
                break
            if tag == b"Z":
                connection.sendall(message(b"Q", statements.encode() + b"\0"))
                asked = True
            elif tag == b"D":
                print(*columns(body), sep="\t")
            elif tag == b"E":
                print(complaint(body), file=sys.stderr)
                refused = 1
    return refused


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: sql.py PORT DATABASE STATEMENTS")
    sys.exit(run(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
