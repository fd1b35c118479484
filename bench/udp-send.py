"""Sends frames by UDP at a rate. Usage: udp-send.py HOST PORT FILE RATE

FILE holds HEP3 frames back to back; each says its own length. RATE is frames a second. sendmmsg(2) takes many at once, so that the sender
leaves the machine to the receiver; Node has no call for it. The last line of stdout is JSON: frames sent, seconds, when it began.
"""
import ctypes
import json
import mmap
import os
import socket
import struct
import sys
import time

host, port, path, rate = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
AT_ONCE = 32

file = open(path, "r+b")
frames = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
first = ctypes.addressof(ctypes.c_char.from_buffer(frames))

# struct iovec { void *base; size_t len; }; struct mmsghdr { struct msghdr { name, namelen, iov, iovlen, control, controllen, flags }; len }
iovecs = bytearray()
at = 0
while at < len(frames):
    length = struct.unpack_from(">H", frames, at + 4)[0]
    iovecs += struct.pack("@PN", first + at, length)
    at += length
count = len(iovecs) // 16
iovec_memory = ctypes.create_string_buffer(bytes(iovecs), len(iovecs))
base = ctypes.addressof(iovec_memory)
headers = bytearray()
for i in range(count):
    headers += struct.pack("@PI4xPNPNi4xI4x", 0, 0, base + 16 * i, 1, 0, 0, 0, 0)
size = len(headers) // count
header_memory = ctypes.create_string_buffer(bytes(headers), len(headers))
header_base = ctypes.addressof(header_memory)

udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect((host, port))
libc = ctypes.CDLL(None, use_errno=True)
libc.sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]

sent = 0
began_at = time.time()
began = time.monotonic()
while sent < count:
    due = min(count, int((time.monotonic() - began) * rate) + 1)
    while sent < due:
        done = libc.sendmmsg(udp.fileno(), header_base + size * sent, min(AT_ONCE, due - sent), 0)
        if done < 0:
            error = ctypes.get_errno()
            sys.exit(f"sendmmsg: {os.strerror(error)}")
        sent += done
    if sent < count:
        time.sleep(0.0005)
seconds = time.monotonic() - began
print(json.dumps({"sent": sent, "seconds": seconds, "beganMs": began_at * 1000}))
