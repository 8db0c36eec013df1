"""Writes placement.tsv: the server of each key, as computed by pymemcache.

    pip install pymemcache==4.0.0
    python3 cache-memcached/tests/placement/make.py > cache-memcached/tests/placement/placement.tsv
"""

from pymemcache.client.hash import HashClient

LOCATIONS = [
    ["127.0.0.1:11211"],
    ["10.0.0.1:11211", "10.0.0.2:11211"],
    ["10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211"],
    ["cache-a", "cache-b:11212", "cache-c.example.org:11211", "cache-d:1"],
    ["[::1]:11211", "[2001:db8::7]:11212", "[::1]:11213"],
    ["unix:/run/one.sock", "/run/two.sock", "10.0.0.1:11211"],
    [f"10.1.{n // 256}.{n % 256}:11211" for n in range(50)],
]

KEYS = (
    [f":1:user:{n}" for n in range(40)]
    + ["k" * n for n in (1, 2, 3, 4, 5, 249, 250)]
    + [":1:naïve", ":1:κλειδί", "shop:2:鍵", ":1:🔑🔑", "\u0101\u0201", "ÿ", "ab\u0141", "abc\u0141", "abcd\u0141"]
)


def name(server):
    return "%s:%s" % server if isinstance(server, tuple) else server


for location in LOCATIONS:
    client = HashClient(location, allow_unicode_keys=True)
    for key in KEYS:
        if len(key.encode()) <= 250:
            print(",".join(location), key, name(client._get_client(key).server), sep="\t")
