"""Attack a viewer on this machine, from many addresses, until told to stop: `python -m tests.rig.attacker PORT`.

Six hundred connections send half a request, or never read their answer, and are opened again when they are cut. Eight
clients ask for originals, framed images and class maps, two guess passwords, one after the other.
"""

from __future__ import annotations

import http.client
import random
import re
import socket
import sys
import threading
import time
from collections import Counter
from urllib.parse import urlencode

from .held import HALF_SENT, asked, open_one

HELD, PICTURES, GUESSES = 600, 8, 2
SENT = (*HALF_SENT.values(), asked("/static/style.css"))


def main() -> None:
    """Attack until standard input ends, then print how often."""
    port, done, stop = int(sys.argv[1]), Counter[str](), threading.Event()
    ways = [(_hold, 1), (_ask_for_pictures, PICTURES), (_guess, GUESSES)]
    threads = [
        threading.Thread(target=_again, args=(way, port, n, done, stop), daemon=True)
        for way, number in ways
        for n in range(number)
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    print(", ".join(f"{number} {what}" for what, number in sorted(done.items())))


def _again(way, port: int, n: int, done: Counter[str], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            way(port, n, done, stop)
        except (OSError, http.client.HTTPException):
            done["connections cut"] += 1
            time.sleep(0.1)


def _hold(port: int, _: int, done: Counter[str], stop: threading.Event) -> None:
    """Hold `HELD` connections, each from one of sixty addresses."""
    held: list[socket.socket | None] = [None] * HELD
    while not stop.is_set():
        for n, one in enumerate(held):
            if one is None or _is_cut(one):
                held[n] = open_one(port, SENT[n % len(SENT)], f"127.0.1.{n % 60 + 1}")
                done["connections held"] += 1
                time.sleep(0.01)
        time.sleep(0.2)


def _is_cut(one: socket.socket) -> bool:
    try:
        one.setblocking(False)
        return one.recv(1, socket.MSG_PEEK) in (b"", b"H")  # closed, or told why
    except BlockingIOError:
        return False
    except OSError:
        return True


def _ask_for_pictures(port: int, n: int, done: Counter[str], _: threading.Event) -> None:
    one = random.randint(1, 60)
    address = random.choice((f"/image/{one}.jpg", f"/framed/{one}.jpg", f"/map/crystal/{one}.png"))
    connection = http.client.HTTPConnection("127.0.0.1", port, 120, source_address=(f"127.0.2.{n + 1}", 0))
    connection.request("GET", address)
    done[f"pictures answered {connection.getresponse().status}"] += 1
    connection.close()


def _guess(port: int, n: int, done: Counter[str], _: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, 120, source_address=(f"127.0.3.{n + 1}", 0))
    connection.request("GET", "/sign-in")
    page = connection.getresponse()
    cookie = page.headers.get("Set-Cookie", "").partition(";")[0]
    token = re.search(r'name="form_token" value="(\w+)"', page.read().decode())
    fields = {"name": "anna", "password": f"guess {random.random()}", "form_token": token.group(1) if token else ""}
    headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/sign-in", urlencode(fields), headers)
    done[f"guesses answered {connection.getresponse().status}"] += 1
    connection.close()


if __name__ == "__main__":
    main()
