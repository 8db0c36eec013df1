//! Sending many commands as one request.
//!
//! memcached sends the replies to commands that arrive together in four or five pieces, and each
//! piece wakes the reader; that was half the time of a batch of 100. It sends its replies in one
//! piece for a classic `get` of many keys, and for sets in quiet mode, where only the last has a
//! reply. Both have a drawback. The replies to a `get` name their keys instead of repeating an
//! opaque, and an error in quiet mode does not identify the command. In that case all commands are
//! sent again, with a reply to each.
//!
//! The values of a `get` are compared with the text of its keys as they arrive. The value that is
//! expected next is taken in one step; everything else (a missed key, the end, an error, an
//! incomplete value) is parsed like any other reply. Each small value is copied into its own
//! allocation. One allocation for all of them would be cheaper, but a caller that keeps one value
//! would then keep all of them in memory.

use memchr::memchr;

use crate::{
    incoming::Incoming,
    wire::{Command, Header, ProtocolError, Reply, Status},
};

/// The number of commands from which a batch is not sent as individual commands.
///
/// The server passes the replies to a classic `get` or to quiet sets to the network before it
/// processes the next request, but coalesces the replies to several small requests. For a few
/// commands the latter is better.
const MIN_BATCH: usize = 16;

/// How the commands of a batch are encoded, which determines their replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each command has an opaque and a reply that repeats it.
    Individual,
    /// The first command is a meta get with an opaque. The others are the keys of one classic
    /// `get`, whose reply is the values that were found, followed by `END`.
    ClassicGet,
    /// The last command is a meta set with an opaque. Those before it are quiet, and a no-op after
    /// it marks the end of possible errors.
    QuietSet,
}

impl Mode {
    pub(crate) fn for_commands(commands: &[&Command<'_>]) -> Self {
        let all = |kind: fn(&Command<'_>) -> bool| {
            commands.len() >= MIN_BATCH && commands.iter().all(|command| kind(command))
        };
        if all(|command| matches!(command, Command::Get(_))) {
            Self::ClassicGet
        } else if all(|command| matches!(command, Command::Set(..))) {
            Self::QuietSet
        } else {
            Self::Individual
        }
    }

    /// The number of opaques that a batch of this many commands uses.
    pub(crate) fn opaque_count(self, commands: usize) -> u32 {
        if self == Self::Individual { commands as u32 } else { 1 }
    }
}

/// A request of many commands and the replies received for it so far.
#[derive(Debug)]
pub(crate) struct Batch {
    mode: Mode,
    first_opaque: u32,
    command_count: usize,
    /// The number of replies received.
    received: usize,
    /// For [`Mode::ClassicGet`], the keys whose values were not received yet.
    keys: Keys,
    replies: Vec<Reply>,
}

impl Batch {
    /// Appends the encoded commands. Their opaques start with `first_opaque`.
    pub(crate) fn write(
        mode: Mode,
        commands: &[&Command<'_>],
        first_opaque: u32,
        out: &mut Vec<u8>,
    ) -> Self {
        let mut keys = Keys::default();
        match (mode, commands) {
            (Mode::ClassicGet, [first, rest @ ..]) => {
                first.write(first_opaque, out);
                out.extend_from_slice(b"get");
                keys = Keys::new(rest);
                out.extend_from_slice(&keys.text);
                out.extend_from_slice(b"\r\n");
            }
            (Mode::QuietSet, [quiet @ .., last]) => {
                quiet.iter().for_each(|command| command.write_quiet(out));
                last.write(first_opaque, out);
                out.extend_from_slice(b"mn\r\n");
            }
            _ => {
                let mut opaque = first_opaque;
                for command in commands {
                    command.write(opaque, out);
                    opaque = opaque.wrapping_add(1);
                }
            }
        }
        Self {
            mode,
            first_opaque,
            command_count: commands.len(),
            received: 0,
            keys,
            replies: Vec::with_capacity(commands.len()),
        }
    }

    /// Takes values as long as they arrive in the order of the keys without a miss.
    pub(crate) fn take_values(&mut self, incoming: &mut Incoming) {
        while self.received > 0
            && let Some(key) = self.keys.peek()
            && let Some(reply) = incoming.take_value_of(key)
        {
            self.keys.next += 1 + key.len();
            self.received += 1;
            self.replies.push(reply);
        }
    }

    /// Takes the next reply. Returns whether it was the last one.
    pub(crate) fn take(
        &mut self,
        header: Header,
        incoming: &mut Incoming,
    ) -> Result<bool, ProtocolError> {
        let received = self.received;
        self.received += 1;
        match self.mode {
            Mode::Individual if header.matches(self.first_opaque.wrapping_add(received as u32)) => {
                self.replies.push(incoming.take(header));
                Ok(self.received == self.command_count)
            }
            Mode::ClassicGet if received > 0 => self.take_classic(header, incoming),
            Mode::QuietSet if received > 0 && header.reply.status == Status::End => {
                incoming.take(header);
                Ok(true)
            }
            Mode::ClassicGet | Mode::QuietSet
                if received < self.command_count && header.matches(self.first_opaque) =>
            {
                self.replies.push(incoming.take(header));
                Ok(false)
            }
            _ => Err(ProtocolError),
        }
    }

    /// Takes the next reply to a classic `get`.
    ///
    /// Values arrive in the order of the keys, and missed keys are left out. An error applies to
    /// all keys that are still open.
    fn take_classic(
        &mut self,
        header: Header,
        incoming: &mut Incoming,
    ) -> Result<bool, ProtocolError> {
        let key = incoming.key(&header);
        match &header.reply.status {
            Status::Value if !key.is_empty() => {
                let missed = self.keys.skip_to(key).ok_or(ProtocolError)?;
                self.fill_up(self.replies.len() + missed, &Status::NotFound);
                self.replies.push(incoming.take(header));
                Ok(false)
            }
            Status::End => {
                self.fill_up(self.command_count, &Status::NotFound);
                incoming.take(header);
                Ok(true)
            }
            Status::Error(_) => {
                let status = incoming.take(header).status;
                self.fill_up(self.command_count, &status);
                Ok(true)
            }
            _ => Err(ProtocolError),
        }
    }

    fn fill_up(&mut self, len: usize, status: &Status) {
        self.replies.resize_with(len, || Reply::new(status.clone()));
    }

    /// Returns the replies in the order of the commands, or `None` if a command failed and it is
    /// not known which.
    pub(crate) fn into_replies(self) -> Option<Vec<Reply>> {
        match (self.mode, &*self.replies) {
            (Mode::Individual | Mode::ClassicGet, _) => Some(self.replies),
            (Mode::QuietSet, [reply]) if reply.status == Status::Done => {
                Some((0..self.command_count).map(|_| Reply::new(Status::Done)).collect())
            }
            (Mode::QuietSet, _) => None,
        }
    }
}

/// The keys of a classic `get` as they are sent, each preceded by a space.
#[derive(Debug, Default)]
struct Keys {
    text: Vec<u8>,
    /// The position of the first key whose value was not received yet.
    next: usize,
}

impl Keys {
    fn new(commands: &[&Command<'_>]) -> Self {
        let mut text =
            Vec::with_capacity(commands.iter().map(|command| 1 + command.key().len()).sum());
        for command in commands {
            text.push(b' ');
            text.extend_from_slice(command.key().as_bytes());
        }
        Self { text, next: 0 }
    }

    fn peek(&self) -> Option<&[u8]> {
        let rest = self.text.get(self.next + 1..)?;
        Some(&rest[..memchr(b' ', rest).unwrap_or(rest.len())])
    }

    /// Advances past the next occurrence of the key. Returns the number of keys skipped before it.
    fn skip_to(&mut self, key: &[u8]) -> Option<usize> {
        let mut skipped = 0;
        loop {
            let next = self.peek()?;
            let (found, len) = (next == key, next.len());
            self.next += 1 + len;
            if found {
                return Some(skipped);
            }
            skipped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use cache_core::Value;

    use super::*;
    use crate::{expiry::Expiry, item::Item};

    fn keys(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("k{number}")).collect()
    }

    fn gets(keys: &[String]) -> Vec<Command<'_>> {
        keys.iter().map(|key| Command::Get(key)).collect()
    }

    fn encode(commands: &[Command<'_>]) -> String {
        let commands: Vec<&Command<'_>> = commands.iter().collect();
        let mut out = Vec::new();
        Batch::write(Mode::for_commands(&commands), &commands, 7, &mut out);
        String::from_utf8(out).expect("commands should be UTF-8")
    }

    /// Parses the replies to gets with the opaque 7. The result must not depend on whether
    /// `take_values` is used.
    fn parse(keys: &[String], mode: Mode, bytes: &str) -> Result<Vec<Reply>, &'static str> {
        let [fast, slow] =
            [true, false].map(|take_values| parse_with(keys, mode, bytes, take_values));
        assert_eq!(fast, slow);
        fast
    }

    fn parse_with(
        keys: &[String],
        mode: Mode,
        bytes: &str,
        take_values: bool,
    ) -> Result<Vec<Reply>, &'static str> {
        let commands = gets(keys);
        let commands: Vec<&Command<'_>> = commands.iter().collect();
        let mut batch = Batch::write(mode, &commands, 7, &mut Vec::new());
        let mut incoming = Incoming::from_bytes(bytes.as_bytes());
        loop {
            if take_values {
                batch.take_values(&mut incoming);
            }
            let header = incoming.header().map_err(|_| "malformed")?.ok_or("incomplete")?;
            if batch.take(header, &mut incoming).map_err(|_| "unexpected")? {
                break;
            }
        }
        assert_eq!(incoming.remaining(), 0, "the last reply should end the batch");
        let replies = batch.into_replies().ok_or("ambiguous")?;
        assert_eq!(replies.len(), keys.len());
        Ok(replies)
    }

    fn values(replies: &[Reply]) -> Vec<&str> {
        let text = |data| std::str::from_utf8(data).expect("values should be UTF-8");
        replies
            .iter()
            .map(|reply| if reply.status == Status::Value { text(&reply.data) } else { "" })
            .collect()
    }

    #[test]
    fn few_or_mixed_commands_are_sent_individually() {
        let keys = keys(MIN_BATCH);
        let mut commands = gets(&keys);
        assert_eq!(encode(&commands[..2]), "mg k0 v f O7\r\nmg k1 v f O8\r\n");
        commands[3] = Command::Delete("k3");
        assert_eq!(encode(&commands).matches("\r\n").count(), MIN_BATCH);
        let gets = gets(&keys);
        let gets: Vec<_> = gets.iter().collect();
        assert_eq!(Mode::for_commands(&gets), Mode::ClassicGet);
    }

    #[test]
    fn many_gets_are_one_meta_get_and_one_classic_get() {
        let keys = keys(MIN_BATCH);
        let text = encode(&gets(&keys));
        assert_eq!(text, format!("mg k0 v f O7\r\nget {}\r\n", keys[1..].join(" ")));
    }

    #[test]
    fn many_sets_are_quiet_except_the_last() {
        let item = || Item::new(&Value::Int(5), None).expect("integers should be encodable");
        let commands =
            [const { "k" }; MIN_BATCH].map(|key| Command::Set(key, item(), Expiry::new(None)));
        let quiet = "ms k 1 F2 q\r\n5\r\n".repeat(MIN_BATCH - 1);
        assert_eq!(encode(&commands), format!("{quiet}ms k 1 F2 O7\r\n5\r\nmn\r\n"));
    }

    #[test]
    fn values_are_matched_to_keys_across_misses() {
        let keys = keys(5);
        let parse = |bytes: &str| {
            parse(&keys, Mode::ClassicGet, bytes).expect("replies should match the keys")
        };
        let replies =
            parse("VA 1 f256 O7\r\na\r\nVALUE k2 256 1\r\nc\r\nVALUE k3 2 1\r\n4\r\nEND\r\n");
        assert_eq!(values(&replies), ["a", "", "c", "4", ""]);
        assert_eq!(replies[3].flags, 2);
        assert_eq!(values(&parse("EN O7\r\nEND\r\n")), [""; 5]);
        let replies = parse(
            "VA 1 f0 O7\r\na\r\nVALUE k1 0 1\r\nb\r\nVALUE k2 0 1\r\nc\r\n\
             VALUE k3 0 1\r\nd\r\nVALUE k4 0 1\r\ne\r\nEND\r\n",
        );
        assert_eq!(values(&replies), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn keys_with_a_common_prefix_are_distinguished() {
        let keys = ["first", "ab", "a", "abc", "a"].map(str::to_owned);
        let parse = |bytes| parse(&keys, Mode::ClassicGet, bytes);
        let replies = parse("EN O7\r\nVALUE a 0 1\r\n1\r\nVALUE abc 0 1\r\n2\r\nEND\r\n")
            .expect("replies should match the keys");
        assert_eq!(values(&replies), ["", "", "1", "2", ""]);
        assert_eq!(parse("EN O7\r\nVALUE abcd 0 1\r\n1\r\nEND\r\n"), Err("unexpected"));
    }

    #[test]
    fn duplicate_keys_each_get_the_value() {
        let keys = ["a", "b", "b", "a"].map(str::to_owned);
        let bytes = "VA 1 f0 O7\r\n1\r\nVALUE b 0 1\r\n2\r\nVALUE b 0 1\r\n2\r\n\
                     VALUE a 0 1\r\n1\r\nEND\r\n";
        let replies = parse(&keys, Mode::ClassicGet, bytes).expect("replies should match the keys");
        assert_eq!(values(&replies), ["1", "2", "2", "1"]);
    }

    #[test]
    fn error_applies_to_all_keys_without_a_value() {
        let bytes = "VA 1 f0 O7\r\na\r\nVALUE k1 0 1\r\nb\r\nSERVER_ERROR no memory\r\n";
        let replies =
            parse(&keys(4), Mode::ClassicGet, bytes).expect("replies should match the keys");
        assert_eq!(values(&replies), ["a", "b", "", ""]);
        assert!(replies[2..].iter().all(|reply| matches!(reply.status, Status::Error(_))));
    }

    #[test]
    fn replies_that_do_not_match_keys_or_opaque_are_rejected() {
        for (bytes, reason) in [
            ("VA 1 f0 O6\r\na\r\nEND\r\n", "unexpected"),
            ("END\r\n", "unexpected"),
            ("MN\r\n", "unexpected"),
            ("VALUE k0 0 1\r\na\r\nEND\r\n", "unexpected"),
            ("EN O7\r\nVA 1 f0 O8\r\na\r\nEND\r\n", "unexpected"),
            ("EN O7\r\nHD O7\r\nEND\r\n", "unexpected"),
            ("EN O7\r\nVALUE k2 0 1\r\nc\r\nVALUE k1 0 1\r\nb\r\nEND\r\n", "unexpected"),
            ("EN O7\r\nVALUE k0 0 1\r\na\r\nEND\r\n", "unexpected"),
            ("EN O7\r\nVALUE K1 0 1\r\na\r\nVALUE k2 0 1\r\na\r\nEND\r\n", "unexpected"),
            (
                "EN O7\r\nVALUE k1 0 1\r\na\r\nVALUE k1 0 1\r\na\r\nVALUE k2 0 1\r\na\r\nEND\r\n",
                "unexpected",
            ),
            ("EN O7\r\nVALUE k1 0 1\r\nbVALUE k2 0 1\r\nc\r\nEND\r\n", "malformed"),
            ("EN O7\r\n", "incomplete"),
            ("EN O7\r\nVALUE k1 0 1\r\nb", "incomplete"),
            ("EN O7\r\nVALUE k", "incomplete"),
        ] {
            assert_eq!(parse(&keys(3), Mode::ClassicGet, bytes), Err(reason), "{bytes:?}");
        }
    }

    #[test]
    fn quiet_sets_all_succeed_or_are_ambiguous() {
        let parse = |bytes| parse(&keys(3), Mode::QuietSet, bytes).map(|replies| replies.len());
        assert_eq!(parse("HD O7\r\nMN\r\n"), Ok(3));
        for bytes in
            ["SERVER_ERROR a\r\nHD O7\r\nMN\r\n", "SERVER_ERROR a\r\nMN\r\n", "NS O7\r\nMN\r\n"]
        {
            assert_eq!(parse(bytes), Err("ambiguous"), "{bytes:?}");
        }
        for bytes in
            ["MN\r\n", "HD O6\r\nMN\r\n", "HD\r\nMN\r\n", "HD O7\r\nVALUE k 0 1\r\na\r\nMN\r\n"]
        {
            assert_eq!(parse(bytes), Err("unexpected"), "{bytes:?}");
        }
    }
}
