//! The slots of a cluster: which one a key is in, and who has it.

use redis::Value;

/// How many slots a cluster has.
pub(super) const SLOTS: usize = 16384;

/// The slot of a key, as the [specification](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/)
/// has it: what stands in the first braces, where anything does, decides alone.
pub(super) fn slot_of(key: &[u8]) -> usize {
    usize::from(crc16(tag_of(key))) % SLOTS
}

fn tag_of(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    match key[open + 1..].iter().position(|byte| *byte == b'}') {
        Some(length) if length > 0 => &key[open + 1..][..length],
        _ => key,
    }
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

static TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// Slots that follow each other, and the host and port of the leader that has them. An empty host is the one that was
/// asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) host: String,
    pub(super) port: u16,
}

/// Reads the answer to CLUSTER SLOTS; `None` where it does not read.
pub(super) fn ranges(answer: &Value) -> Option<Vec<Range>> {
    let Value::Array(ranges) = answer else { return None };
    ranges.iter().map(range).collect()
}

fn range(value: &Value) -> Option<Range> {
    let Value::Array(parts) = value else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(leader), ..] = &**parts else {
        return None;
    };
    let [host, Value::Int(port), ..] = &**leader else { return None };
    let host = match host {
        // A server that does not know its own name says so in one of these ways.
        Value::Nil => String::new(),
        Value::BulkString(host) if host == b"?" => String::new(),
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        _ => return None,
    };
    let slot = |number: i64| usize::try_from(number).ok().filter(|slot| *slot < SLOTS);
    Some(Range { first: slot(*first)?, last: slot(*last)?, host, port: u16::try_from(*port).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_the_slot_that_servers_say() {
        for (key, slot) in
            [("foo", 12182), ("bar", 5061), ("", 0), ("123456789", 0x31C3), (":1:key", 15240)]
        {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn only_what_stands_in_the_first_braces_decides() {
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        for whole in [&b"foo{}{bar}"[..], b"foo{bar", b"foo}bar{"] {
            assert_eq!(slot_of(whole), usize::from(crc16(whole)) % SLOTS);
        }
    }

    #[test]
    fn a_map_of_slots_is_read_whatever_hosts_are_called() {
        let map = b"*3\r\n*3\r\n:0\r\n:5460\r\n*3\r\n$1\r\nh\r\n:7000\r\n$2\r\nid\r\n\
                    *3\r\n:5461\r\n:5461\r\n*2\r\n$-1\r\n:7001\r\n*3\r\n:5462\r\n:16383\r\n*2\r\n$1\r\n?\r\n:7002\r\n";
        let found = ranges(&redis::parse_redis_value(map).expect("it is RESP")).expect("it reads");
        let found: Vec<_> =
            found.iter().map(|range| (range.first, range.last, &*range.host, range.port)).collect();
        assert_eq!(found, [(0, 5460, "h", 7000), (5461, 5461, "", 7001), (5462, 16383, "", 7002)]);
        let beyond = b"*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\nh\r\n:7000\r\n";
        assert_eq!(ranges(&redis::parse_redis_value(beyond).expect("it is RESP")), None);
    }
}
