"""Say a line with nothing but pyzmq and msgpack: ``python plain_python.py "hello"``."""

import os
import sys

import msgpack
import zmq

folder = os.environ.get("KOED_RUNTIME_DIR") or f"{os.environ['XDG_RUNTIME_DIR']}/koed"
socket = zmq.Context().socket(zmq.DEALER)
socket.linger = 0  # do not wait for a daemon that is not there
socket.connect(f"ipc://{folder}/control")
socket.send(msgpack.packb({"op": "say", "id": 1, "text": sys.argv[1]}))
if not socket.poll(5000):
    sys.exit("koed does not answer")
print(msgpack.unpackb(socket.recv()))
