//! Many commands as one request.
//!
//! memcached sends its replies to commands that come together in several pieces, and each piece wakes whoever reads. In one
//! piece it answers a `get` of many keys, and sets of which only the last has a reply. Both have a price: the replies to a
//! `get` carry no number but name their keys, and an error about a quiet command does not say which one it is about. Then
//! all are sent again, with a reply to each.

use memchr::memchr;

use crate::{
    incoming::Incoming,
    wire::{Command, Garbage, Head, Reply, Status},
};

/// From so many commands on they are not sent each by itself: the server hands such a request's replies to the network
/// before it looks at the next request, and it is better not to have it do so for a few.
const MANY: usize = 16;

/// How commands are written, and so how they are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Each by itself, with a number that its reply repeats.
    Single,
    /// The first by itself; the others are the keys of one `get`, and an `END` follows the values that are there.
    Gets,
    /// The last by itself; those before it are quiet, and a no-op after it says that no more errors come.
    Sets,
}

impl Form {
    pub(crate) fn of(commands: &[&Command<'_>]) -> Self {
        let all = |kind: fn(&Command<'_>) -> bool| {
            commands.len() >= MANY && commands.iter().all(|command| kind(command))
        };
        if all(|command| matches!(command, Command::Get(_))) {
            Self::Gets
        } else if all(|command| matches!(command, Command::Set(..))) {
            Self::Sets
        } else {
            Self::Single
        }
    }

    /// How many numbers so many commands take.
    pub(crate) fn numbers(self, commands: usize) -> u32 {
        if self == Self::Single { commands as u32 } else { 1 }
    }
}

/// A request of many commands, and what has come for it.
#[derive(Debug)]
pub(crate) struct Batch {
    form: Form,
    number: u32,
    commands: usize,
    /// How many replies have come.
    come: usize,
    /// Of gets, those that have not come.
    keys: Keys,
    replies: Vec<Reply>,
}

impl Batch {
    /// Appends to what is sent. The numbers begin with `number`.
    pub(crate) fn write(
        form: Form,
        commands: &[&Command<'_>],
        number: u32,
        out: &mut Vec<u8>,
    ) -> Self {
        let mut keys = Keys::default();
        match (form, commands) {
            (Form::Gets, [first, others @ ..]) => {
                first.write(number, out);
                out.extend_from_slice(b"get");
                keys = Keys::of(others);
                out.extend_from_slice(&keys.text);
                out.extend_from_slice(b"\r\n");
            }
            (Form::Sets, [others @ .., last]) => {
                others.iter().for_each(|command| command.write_quiet(out));
                last.write(number, out);
                out.extend_from_slice(b"mn\r\n");
            }
            _ => {
                let mut number = number;
                for command in commands {
                    command.write(number, out);
                    number = number.wrapping_add(1);
                }
            }
        }
        Self {
            form,
            number,
            commands: commands.len(),
            come: 0,
            keys,
            replies: Vec::with_capacity(commands.len()),
        }
    }

    /// Takes the values that have come in the order of the keys, one after the other.
    pub(crate) fn take_values(&mut self, incoming: &mut Incoming) {
        while self.come > 0
            && let Some(key) = self.keys.next()
            && let Some(reply) = incoming.take_value_of(key)
        {
            self.keys.next += 1 + key.len();
            self.come += 1;
            self.replies.push(reply);
        }
    }

    /// Takes the next reply, and answers whether it is the last.
    pub(crate) fn take(&mut self, head: Head, incoming: &mut Incoming) -> Result<bool, Garbage> {
        let come = self.come;
        self.come += 1;
        match self.form {
            Form::Single if head.answers(self.number.wrapping_add(come as u32)) => {
                self.replies.push(incoming.take(head));
                Ok(self.come == self.commands)
            }
            Form::Gets if come > 0 => self.take_classic(head, incoming),
            Form::Sets if come > 0 && head.reply.status == Status::End => {
                incoming.take(head);
                Ok(true)
            }
            Form::Gets | Form::Sets if come < self.commands && head.answers(self.number) => {
                self.replies.push(incoming.take(head));
                Ok(false)
            }
            _ => Err(Garbage),
        }
    }

    /// The values of a classic `get` come in the order of its keys, and where one is missed there is nothing. An error
    /// stands for all that did not come.
    fn take_classic(&mut self, head: Head, incoming: &mut Incoming) -> Result<bool, Garbage> {
        let key = incoming.key(&head);
        match &head.reply.status {
            Status::Value if !key.is_empty() => {
                let missed = self.keys.skip_to(key).ok_or(Garbage)?;
                self.fill_up(self.replies.len() + missed, &Status::Missing);
                self.replies.push(incoming.take(head));
                Ok(false)
            }
            Status::End => {
                self.fill_up(self.commands, &Status::Missing);
                incoming.take(head);
                Ok(true)
            }
            Status::Refused(_) => {
                let status = incoming.take(head).status;
                self.fill_up(self.commands, &status);
                Ok(true)
            }
            _ => Err(Garbage),
        }
    }

    fn fill_up(&mut self, to: usize, status: &Status) {
        self.replies.resize_with(to, || Reply::new(status.clone()));
    }

    /// The replies to all commands in their order; `None` where one was refused and it is not known which.
    pub(crate) fn answer(self) -> Option<Vec<Reply>> {
        match (self.form, &*self.replies) {
            (Form::Single | Form::Gets, _) => Some(self.replies),
            (Form::Sets, [reply]) if reply.status == Status::Done => {
                Some((0..self.commands).map(|_| Reply::new(Status::Done)).collect())
            }
            (Form::Sets, _) => None,
        }
    }
}

/// Keys as they are sent, each behind a blank.
#[derive(Debug, Default)]
struct Keys {
    text: Vec<u8>,
    /// Where the first one begins that is still to come.
    next: usize,
}

impl Keys {
    fn of(commands: &[&Command<'_>]) -> Self {
        let mut text =
            Vec::with_capacity(commands.iter().map(|command| 1 + command.key().len()).sum());
        for command in commands {
            text.push(b' ');
            text.extend_from_slice(command.key().as_bytes());
        }
        Self { text, next: 0 }
    }

    /// The next one.
    fn next(&self) -> Option<&[u8]> {
        let rest = self.text.get(self.next + 1..)?;
        Some(&rest[..memchr(b' ', rest).unwrap_or(rest.len())])
    }

    /// Goes on behind the next place of this key, and answers how many others were before it.
    fn skip_to(&mut self, key: &[u8]) -> Option<usize> {
        let mut skipped = 0;
        loop {
            let next = self.next()?;
            let (is_it, length) = (next == key, next.len());
            self.next += 1 + length;
            if is_it {
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

    fn written(commands: &[Command<'_>]) -> String {
        let commands: Vec<&Command<'_>> = commands.iter().collect();
        let mut out = Vec::new();
        Batch::write(Form::of(&commands), &commands, 7, &mut out);
        String::from_utf8(out).expect("it is text")
    }

    /// What is answered to gets with the number 7, or why nothing is: the same, whether values are taken as the next ones
    /// of their keys or each is looked at.
    fn answered(keys: &[String], form: Form, bytes: &str) -> Result<Vec<Reply>, &'static str> {
        let [in_turn, one_by_one] =
            [true, false].map(|in_turn| answered_so(keys, form, bytes, in_turn));
        assert_eq!(in_turn, one_by_one);
        in_turn
    }

    fn answered_so(
        keys: &[String],
        form: Form,
        bytes: &str,
        in_turn: bool,
    ) -> Result<Vec<Reply>, &'static str> {
        let commands = gets(keys);
        let commands: Vec<&Command<'_>> = commands.iter().collect();
        let mut batch = Batch::write(form, &commands, 7, &mut Vec::new());
        let mut incoming = Incoming::of(bytes.as_bytes());
        loop {
            if in_turn {
                batch.take_values(&mut incoming);
            }
            let head = incoming.head().map_err(|_| "garbage")?.ok_or("too few")?;
            if batch.take(head, &mut incoming).map_err(|_| "unexpected")? {
                break;
            }
        }
        assert_eq!(incoming.left(), 0, "the last reply was taken for the last one");
        let replies = batch.answer().ok_or("unclear")?;
        assert_eq!(replies.len(), keys.len());
        Ok(replies)
    }

    fn values(replies: &[Reply]) -> Vec<&str> {
        let text = |data| std::str::from_utf8(data).expect("it is text");
        replies
            .iter()
            .map(|reply| if reply.status == Status::Value { text(&reply.data) } else { "" })
            .collect()
    }

    #[test]
    fn a_few_commands_or_different_ones_are_each_by_itself() {
        let keys = keys(MANY);
        let mut commands = gets(&keys);
        assert_eq!(written(&commands[..2]), "mg k0 v f O7\r\nmg k1 v f O8\r\n");
        commands[3] = Command::Delete("k3");
        assert_eq!(written(&commands).matches("\r\n").count(), MANY);
        assert_eq!(Form::of(&gets(&keys).iter().collect::<Vec<_>>()), Form::Gets);
    }

    #[test]
    fn many_gets_are_one_and_one_of_the_other_keys() {
        let keys = keys(MANY);
        let text = written(&gets(&keys));
        assert_eq!(text, format!("mg k0 v f O7\r\nget {}\r\n", keys[1..].join(" ")));
    }

    #[test]
    fn of_many_sets_only_the_last_is_answered() {
        let item = || Item::new(&Value::Int(5), None).expect("it is kept");
        let text =
            written(&[const { "k" }; MANY].map(|key| Command::Set(key, item(), Expiry::of(None))));
        let quiet = "ms k 1 F2 q\r\n5\r\n".repeat(MANY - 1);
        assert_eq!(text, format!("{quiet}ms k 1 F2 O7\r\n5\r\nmn\r\n"));
    }

    #[test]
    fn values_come_to_their_keys_and_misses_between() {
        let keys = keys(5);
        let found = |bytes| answered(&keys, Form::Gets, bytes);
        let replies =
            found("VA 1 f256 O7\r\na\r\nVALUE k2 256 1\r\nc\r\nVALUE k3 2 1\r\n4\r\nEND\r\n")
                .expect("they fit");
        assert_eq!(values(&replies), ["a", "", "c", "4", ""]);
        assert_eq!(replies[3].flags, 2);
        assert_eq!(values(&found("EN O7\r\nEND\r\n").expect("they fit")), [""; 5]);
        let all = "VALUE k1 0 1\r\nb\r\nVALUE k2 0 1\r\nc\r\nVALUE k3 0 1\r\nd\r\nVALUE k4 0 1\r\ne\r\nEND\r\n";
        let replies = found(&format!("VA 1 f0 O7\r\na\r\n{all}")).expect("they fit");
        assert_eq!(values(&replies), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn a_key_that_begins_like_another_is_another() {
        let keys = ["first", "ab", "a", "abc", "a"].map(str::to_owned);
        let found = |bytes| answered(&keys, Form::Gets, bytes);
        let replies =
            found("EN O7\r\nVALUE a 0 1\r\n1\r\nVALUE abc 0 1\r\n2\r\nEND\r\n").expect("they fit");
        assert_eq!(values(&replies), ["", "", "1", "2", ""]);
        assert_eq!(found("EN O7\r\nVALUE abcd 0 1\r\n1\r\nEND\r\n"), Err("unexpected"));
    }

    #[test]
    fn the_same_key_may_be_asked_for_twice() {
        let keys = ["a", "b", "b", "a"].map(str::to_owned);
        let bytes = "VA 1 f0 O7\r\n1\r\nVALUE b 0 1\r\n2\r\nVALUE b 0 1\r\n2\r\nVALUE a 0 1\r\n1\r\nEND\r\n";
        assert_eq!(
            values(&answered(&keys, Form::Gets, bytes).expect("they fit")),
            ["1", "2", "2", "1"]
        );
    }

    #[test]
    fn an_error_in_place_of_values_is_that_of_all_that_did_not_come() {
        let bytes = "VA 1 f0 O7\r\na\r\nVALUE k1 0 1\r\nb\r\nSERVER_ERROR no memory\r\n";
        let replies = answered(&keys(4), Form::Gets, bytes).expect("they fit");
        assert_eq!(values(&replies), ["a", "b", "", ""]);
        assert!(replies[2..].iter().all(|reply| matches!(reply.status, Status::Refused(_))));
    }

    #[test]
    fn what_does_not_fit_the_keys_or_the_number_is_known() {
        for (bytes, why) in [
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
            ("EN O7\r\nVALUE k1 0 1\r\nbVALUE k2 0 1\r\nc\r\nEND\r\n", "garbage"),
            ("EN O7\r\n", "too few"),
            ("EN O7\r\nVALUE k1 0 1\r\nb", "too few"),
            ("EN O7\r\nVALUE k", "too few"),
        ] {
            assert_eq!(answered(&keys(3), Form::Gets, bytes), Err(why), "{bytes:?}");
        }
    }

    #[test]
    fn sets_are_all_done_or_it_is_unclear_which() {
        let answered = |bytes| answered(&keys(3), Form::Sets, bytes).map(|replies| replies.len());
        assert_eq!(answered("HD O7\r\nMN\r\n"), Ok(3));
        for bytes in
            ["SERVER_ERROR a\r\nHD O7\r\nMN\r\n", "SERVER_ERROR a\r\nMN\r\n", "NS O7\r\nMN\r\n"]
        {
            assert_eq!(answered(bytes), Err("unclear"), "{bytes:?}");
        }
        for bytes in
            ["MN\r\n", "HD O6\r\nMN\r\n", "HD\r\nMN\r\n", "HD O7\r\nVALUE k 0 1\r\na\r\nMN\r\n"]
        {
            assert_eq!(answered(bytes), Err("unexpected"), "{bytes:?}");
        }
    }
}
