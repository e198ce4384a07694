"""200 connections for a minute: every answer is the right one, whoever else asks, reads slowly or leaves. Then memory is back.

    PICOLM_URL=… PICOLM_NAME=… PICOLM_PID=… load.py [seconds [connections]]
"""

import asyncio
import json
import os
import random
import sys
import time
from urllib.parse import urlparse

seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
connections = int(sys.argv[2]) if len(sys.argv) > 2 else 200
address = urlparse(os.environ["PICOLM_URL"])
counts = {"right": 0, "left": 0, "slow": 0, "wrong": 0}


def rss_anon():
    with open(f"/proc/{os.environ['PICOLM_PID']}/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def request(i, stream):
    body = json.dumps({"model": os.environ["PICOLM_NAME"], "prompt": f"{i}:", "seed": i, "max_tokens": 4 + i % 5, "stream": stream})
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


async def answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length"))
    body = json.loads(await reader.readexactly(length))
    return body["choices"][0]["text"] if " 200 " in head.split("\r\n")[0] else body


async def polite(number, wanted, end):
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    while time.monotonic() < end:
        i = random.randrange(len(wanted))
        writer.write(request(i, False))
        found = await answer(reader)
        counts["right" if found == wanted[i] else "wrong"] += 1
        if found != wanted[i]:
            print("wrong:", i, found)
    writer.close()


async def rude(number, end):
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(request(number, True))
        if number % 2:
            await reader.read(100)
            counts["left"] += 1
        else:
            for _ in range(3):
                await reader.read(1)
                await asyncio.sleep(1)
            counts["slow"] += 1
        writer.close()


async def main():
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    wanted = []
    for i in range(50):
        writer.write(request(i, False))
        wanted.append(await answer(reader))
    # Once at full breadth: what the sessions and the allocator keep is theirs.
    await asyncio.gather(*(polite(i, wanted, time.monotonic() + 3) for i in range(connections)))
    before = rss_anon()
    end = time.monotonic() + seconds
    tenth = connections // 10
    await asyncio.gather(
        *(polite(i, wanted, end) for i in range(connections - tenth)), *(rude(i, end) for i in range(tenth)))
    await asyncio.sleep(2)
    after = rss_anon()
    writer.close()
    print(f"{connections} connections, {seconds:.0f} s: {counts}; RssAnon {before:.1f} MB before, {after:.1f} MB after")
    good = not counts["wrong"] and counts["right"] > connections and after < before * 1.1 + 4
    print(f"# pass {int(good)}\n# fail {int(not good)}")
    sys.exit(not good)


asyncio.run(main())
