"""Drives the moving window of limits (PyPI) on Redis with real time. Arguments: port of Redis. Standard input: one line
a request, "due limit span key", with times in microseconds. Standard output: "index time admitted" for each; the time is
the one the library itself read."""

import sys
import time

import limits.storage.redis
from limits import RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter


class Clock:
    """The module's clock, which remembers what it said."""

    said = 0.0

    def time(self):
        Clock.said = time.time()
        return Clock.said


limits.storage.redis.time = Clock()
lines = [line.split() for line in sys.stdin]
limiter = MovingWindowRateLimiter(RedisStorage(f"redis://127.0.0.1:{sys.argv[1]}"))
items = {}
out = []
start = time.time()
for index, (due, limit, span, key) in enumerate(lines):
    item = items.get((limit, span))
    if item is None:
        seconds, rest = divmod(int(span), 1_000_000)
        if rest:
            raise ValueError(f"a window of {span} microseconds is not whole seconds")
        item = items[limit, span] = RateLimitItemPerSecond(int(limit), seconds)
    pause = start + int(due) / 1e6 - time.time()
    if pause > 0:
        time.sleep(pause)
    admitted = limiter.hit(item, key)
    out.append(f"{index} {int(Clock.said * 1e6)} {int(admitted)}")
print("\n".join(out))
