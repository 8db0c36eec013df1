//! The slots of a cluster: the slot of a key, and the primary of a slot.

use redis::Value;

/// The number of slots of a cluster.
pub(super) const SLOTS: usize = 16384;

/// Computes the slot of a key, by the [cluster specification]: if the first braces are not empty,
/// only the text inside them is hashed.
///
/// [cluster specification]:
///     https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
pub(super) fn slot_of(key: &[u8]) -> usize {
    usize::from(crc16(hash_tag(key))) % SLOTS
}

fn hash_tag(key: &[u8]) -> &[u8] {
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

/// Consecutive slots and the address of their primary. An empty host is that of the server which
/// reported the range.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SlotRange {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) host: String,
    pub(super) port: u16,
}

/// Parses the reply to CLUSTER SLOTS. Returns `None` if it is malformed.
pub(super) fn parse_ranges(reply: &Value) -> Option<Vec<SlotRange>> {
    let Value::Array(ranges) = reply else { return None };
    ranges.iter().map(parse_range).collect()
}

fn parse_range(value: &Value) -> Option<SlotRange> {
    let Value::Array(parts) = value else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = &**parts else {
        return None;
    };
    let [host, Value::Int(port), ..] = &**primary else { return None };
    let host = match host {
        // A server that does not know its own host name sends nil, an empty string or "?".
        Value::Nil => String::new(),
        Value::BulkString(host) if host == b"?" => String::new(),
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        _ => return None,
    };
    let slot = |number: i64| usize::try_from(number).ok().filter(|slot| *slot < SLOTS);
    Some(SlotRange {
        first: slot(*first)?,
        last: slot(*last)?,
        host,
        port: u16::try_from(*port).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_of_a_key_is_the_one_that_servers_compute() {
        for (key, slot) in
            [("foo", 12182), ("bar", 5061), ("", 0), ("123456789", 0x31C3), (":1:key", 15240)]
        {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn only_the_first_hash_tag_is_hashed() {
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        for whole in [&b"foo{}{bar}"[..], b"foo{bar", b"foo}bar{"] {
            assert_eq!(slot_of(whole), usize::from(crc16(whole)) % SLOTS);
        }
    }

    #[test]
    fn slot_ranges_are_parsed_with_and_without_host() {
        let reply = b"*3\r\n\
            *3\r\n:0\r\n:5460\r\n*3\r\n$1\r\nh\r\n:7000\r\n$2\r\nid\r\n\
            *3\r\n:5461\r\n:5461\r\n*2\r\n$-1\r\n:7001\r\n\
            *3\r\n:5462\r\n:16383\r\n*2\r\n$1\r\n?\r\n:7002\r\n";
        let ranges = parse_ranges(&redis::parse_redis_value(reply).expect("RESP")).expect("valid");
        let ranges: Vec<_> = ranges
            .iter()
            .map(|range| (range.first, range.last, &*range.host, range.port))
            .collect();
        let expected = [(0, 5460, "h", 7000), (5461, 5461, "", 7001), (5462, 16383, "", 7002)];
        assert_eq!(ranges, expected);
        let beyond = b"*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\nh\r\n:7000\r\n";
        assert_eq!(parse_ranges(&redis::parse_redis_value(beyond).expect("RESP")), None);
    }
}
