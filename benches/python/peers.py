"""Runs the jobs of a benchmark on one of Python's caches.

    peers.py django-locmem NAME COUNT
    peers.py django-files FOLDER COUNT
    peers.py django-sqlite FILE COUNT
    peers.py django-postgres URL COUNT
    peers.py django-memcached HOST:PORT COUNT
    peers.py django-redis URL COUNT
    peers.py diskcache FOLDER COUNT

It fills the cache with COUNT entries and prints {"ready": "NAME VERSION on Python VERSION"}. Then
it reads lines of JSON like {"job": "get", "seconds": 0.3, "operations": 500}. For each it performs
up to that many operations within that time, at least one, and prints {"nanoseconds": TIME OF ONE
OPERATION}. It ends at the end of the input, or with an error at a line that is not a job.
"""

import json
import os
import pickle
import platform
import sys
import time
from base64 import b64encode
from datetime import datetime, timedelta, timezone
from itertools import count, islice
from urllib.parse import urlsplit

VALUE = b"v" * 100
HOUR = 3600
BATCH = 100
UNLIMITED = 1 << 40
STRIDE = 611_953


def key(number):
    """Like `workload::scattered_key`."""
    return f"page:user:{number * 0x9E3779B97F4A7C15 % 2**64:016x}"


class Django:
    """One of Django's stores through its public interface.

    `fill` bypasses that interface in stores whose `set` examines all entries.
    """

    def __init__(self, backend, location, databases, **options):
        import django
        from django.conf import settings

        backend = f"django.core.cache.backends.{backend}"
        store = {"BACKEND": backend, "LOCATION": location, "OPTIONS": options}
        settings.configure(CACHES={"default": store}, DATABASES=databases, USE_TZ=True)
        django.setup()
        from django.core.cache import caches

        self.name = f"Django {django.get_version()}"
        self.cache = caches["default"]
        self.delete_many = self.cache.delete_many

    def get(self, key):
        return self.cache.get(key)

    def set(self, key):
        self.cache.set(key, VALUE, HOUR)

    def get_many(self, keys):
        return len(self.cache.get_many(keys))

    def set_many(self, keys):
        self.cache.set_many(dict.fromkeys(keys, VALUE), HOUR)


class DjangoFiles(Django):
    def __init__(self, folder):
        super().__init__("filebased.FileBasedCache", folder, {}, MAX_ENTRIES=UNLIMITED)
        self.moved = f"{folder} moved"
        os.makedirs(self.moved)
        self.delete_many = self.move_away

    def fill(self, keys):
        self.cache._createdir()
        for key in keys:
            with open(self.cache._key_to_file(key), "wb") as file:
                self.cache._write_content(file, HOUR, VALUE)

    def move_away(self, keys):
        """Like `Bench::move_away` in `filebased/main.rs`."""
        for key in keys:
            file = self.cache._key_to_file(key)
            os.rename(file, os.path.join(self.moved, os.path.basename(file)))


class DjangoTable(Django):
    TABLE = "django_cache"

    def __init__(self, database):
        databases = {"default": database}
        super().__init__("db.DatabaseCache", self.TABLE, databases, MAX_ENTRIES=UNLIMITED)

    def fill(self, keys):
        from django.core.management import call_command
        from django.db import connection, transaction

        call_command("createcachetable")
        value = b64encode(pickle.dumps(VALUE, pickle.HIGHEST_PROTOCOL)).decode("latin1")
        expires = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=HOUR)
        expires = connection.ops.adapt_datetimefield_value(expires)
        insert = f"INSERT INTO {self.TABLE} (cache_key, value, expires) VALUES (%s, %s, %s)"
        rows = ([self.cache.make_and_validate_key(key), value, expires] for key in keys)
        with transaction.atomic(), connection.cursor() as cursor:
            while batch := list(islice(rows, 10_000)):
                cursor.executemany(insert, batch)


def django_sqlite(file):
    # Django's documentation recommends these for speed.
    pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"
    options = {"init_command": pragmas, "transaction_mode": "IMMEDIATE"}
    return DjangoTable({"ENGINE": "django.db.backends.sqlite3", "NAME": file, "OPTIONS": options})


def django_postgres(url):
    url = urlsplit(url)
    address = {"HOST": url.hostname, "PORT": url.port}
    account = {"USER": url.username, "NAME": url.path.lstrip("/")}
    engine = {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": None}
    return DjangoTable({**engine, **address, **account})


class DjangoUnbounded(Django):
    """A store whose `set` does not examine other entries."""

    def fill(self, keys):
        while batch := list(islice(keys, 1000)):
            self.set_many(batch)


def django_locmem(name):
    return DjangoUnbounded("locmem.LocMemCache", name, {}, MAX_ENTRIES=UNLIMITED)


def django_memcached(server):
    return DjangoUnbounded("memcached.PyMemcacheCache", server, {})


def django_redis(url):
    return DjangoUnbounded("redis.RedisCache", url, {})


class DiskCache:
    def __init__(self, folder):
        import diskcache

        self.name = f"diskcache {diskcache.__version__}"
        self.cache = diskcache.Cache(folder, size_limit=UNLIMITED)
        self.get = self.cache.get

    def fill(self, keys):
        while batch := list(islice(keys, 10_000)):
            self.set_many(batch)

    def set(self, key):
        self.cache.set(key, VALUE, HOUR)

    def get_many(self, keys):
        return sum(self.cache.get(key) is not None for key in keys)

    def set_many(self, keys):
        with self.cache.transact():
            for key in keys:
                self.cache.set(key, VALUE, HOUR)

    def delete_many(self, keys):
        with self.cache.transact():
            for key in keys:
                del self.cache[key]


STORES = {
    "django-locmem": django_locmem,
    "django-files": DjangoFiles,
    "django-sqlite": django_sqlite,
    "django-postgres": django_postgres,
    "django-memcached": django_memcached,
    "django-redis": django_redis,
    "diskcache": DiskCache,
}


class Jobs:
    """Each job returns the keys that it wrote."""

    def __init__(self, store, entries):
        self.store = store
        self.entries = entries
        self.new = count(entries)
        # Distant entries, not in the order in which they were stored.
        self.stored = count(step=STRIDE)

    def get(self):
        assert self.store.get(key(next(self.stored) % self.entries)) == VALUE
        return []

    def set(self):
        new = key(next(self.new))
        self.store.set(new)
        return [new]

    def get_many(self):
        keys = [key(number % self.entries) for number in islice(self.stored, BATCH)]
        found = self.store.get_many(keys)
        assert found == BATCH, f"found {found} of {BATCH} keys"
        return []

    def set_many(self):
        new = [key(number) for number in islice(self.new, BATCH)]
        self.store.set_many(new)
        return new

    def time(self, job, seconds, operations):
        operation = getattr(self, job)
        done, written = 0, []
        start = time.perf_counter()
        while done == 0 or (done < operations and time.perf_counter() - start < seconds):
            written += operation()
            done += 1
        each = (time.perf_counter() - start) / done * 1e9
        if written:
            self.store.delete_many(written)
        return each


def reply(message):
    print(json.dumps(message), flush=True)


def main(kind, place, entries):
    store = STORES[kind](place)
    store.fill(key(number) for number in range(entries))
    reply({"ready": f"{store.name} on Python {platform.python_version()}"})
    jobs = Jobs(store, entries)
    for line in sys.stdin:
        reply({"nanoseconds": jobs.time(**json.loads(line))})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
