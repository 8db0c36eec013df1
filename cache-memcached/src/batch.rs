//! Many commands as one request.
//!
//! memcached sends its replies to commands that come together in several pieces, and each piece wakes whoever reads. In one
//! piece it answers a `get` of many keys, and sets of which only the last has a reply. Both have a price: the replies to a
//! `get` carry no number but name their keys, and an error about a quiet command does not say which one it is about. Then
//! all are sent again, with a reply to each.

use crate::wire::{Command, Garbage, Reply, Status};

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
        let all =
            |kind: fn(&Command<'_>) -> bool| commands.len() >= MANY && commands.iter().all(|command| kind(command));
        if all(|command| matches!(command, Command::Get(_))) {
            Self::Gets
        } else if all(|command| matches!(command, Command::Set(..))) {
            Self::Sets
        } else {
            Self::Single
        }
    }

    /// Appends what is sent. The numbers begin with `number`.
    pub(crate) fn write(self, commands: &[&Command<'_>], number: u32, out: &mut Vec<u8>) -> Expected {
        match (self, commands) {
            (Self::Gets, [first, others @ ..]) => {
                first.write(number, out);
                out.extend_from_slice(b"get");
                for command in others {
                    out.push(b' ');
                    out.extend_from_slice(command.key().as_bytes());
                }
                out.extend_from_slice(b"\r\n");
            }
            (Self::Sets, [others @ .., last]) => {
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
        Expected { form: self, number, commands: commands.len(), come: 0 }
    }

    /// The replies to all commands in their order, of those that came.
    pub(crate) fn sort(self, commands: &[&Command<'_>], replies: Vec<Reply>) -> Result<Vec<Reply>, Unsorted> {
        match self {
            Self::Single => Ok(replies),
            Self::Gets => by_key(commands, replies).ok_or(Unsorted::Garbage),
            Self::Sets if matches!(&*replies, [reply] if reply.status == Status::Done) => {
                Ok(commands.iter().map(|_| Reply::new(Status::Done)).collect())
            }
            Self::Sets => Err(Unsorted::Unclear),
        }
    }
}

/// Why it is not known which reply is to which command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unsorted {
    /// One of them was refused.
    Unclear,
    /// Something came that was not asked for.
    Garbage,
}

/// The values, which came in the order of the commands, and misses between them. An error stands for all that did not come.
fn by_key(commands: &[&Command<'_>], replies: Vec<Reply>) -> Option<Vec<Reply>> {
    let mut others = commands.iter().zip(&replies).skip(1);
    if replies.len() == commands.len() && others.all(|(command, reply)| reply.key() == command.key().as_bytes()) {
        return Some(replies);
    }
    let mut replies = replies.into_iter();
    let mut sorted = Vec::with_capacity(commands.len());
    sorted.extend(replies.next());
    let mut next = replies.next();
    for command in commands.iter().skip(1) {
        match &next {
            Some(reply) if reply.key() == command.key().as_bytes() => {
                sorted.extend(next);
                next = replies.next();
            }
            Some(reply) if is_refusal(reply) => sorted.push(Reply::new(reply.status.clone())),
            _ => sorted.push(Reply::new(Status::Missing)),
        }
    }
    next.is_none_or(|reply| is_refusal(&reply)).then_some(sorted)
}

fn is_refusal(reply: &Reply) -> bool {
    matches!(reply.status, Status::Refused(_))
}

/// What is to come for a request.
#[derive(Debug)]
pub(crate) struct Expected {
    form: Form,
    number: u32,
    commands: usize,
    /// How many replies have come.
    come: usize,
}

impl Expected {
    /// How many numbers the request has taken.
    pub(crate) fn numbers(&self) -> u32 {
        if self.form == Form::Single { self.commands as u32 } else { 1 }
    }

    /// Takes the next reply, and answers whether it is the last.
    pub(crate) fn take(&mut self, reply: &Reply) -> Result<bool, Garbage> {
        let come = self.come;
        self.come += 1;
        match self.form {
            Form::Single if reply.answers(self.number.wrapping_add(come as u32)) => Ok(self.come == self.commands),
            Form::Gets if come == 0 && reply.answers(self.number) => Ok(false),
            Form::Gets if come > 0 && (reply.status == Status::End || is_refusal(reply)) => Ok(true),
            Form::Gets if come > 0 && come < self.commands && !reply.key().is_empty() => Ok(false),
            Form::Sets if come > 0 && reply.status == Status::End => Ok(true),
            Form::Sets if come < self.commands && reply.answers(self.number) => Ok(false),
            _ => Err(Garbage),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use cache_core::Value;

    use super::*;
    use crate::item::Item;

    fn keys(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("k{number}")).collect()
    }

    fn gets(keys: &[String]) -> Vec<Command<'_>> {
        keys.iter().map(|key| Command::Get(key)).collect()
    }

    fn written(commands: &[Command<'_>]) -> String {
        let commands: Vec<&Command<'_>> = commands.iter().collect();
        let mut out = Vec::new();
        Form::of(&commands).write(&commands, 7, &mut out);
        String::from_utf8(out).expect("it is text")
    }

    /// What is answered to gets with the number 7, or why nothing is.
    fn answered(keys: &[String], form: Form, bytes: &str) -> Result<Vec<Reply>, &'static str> {
        let commands = gets(keys);
        let commands: Vec<&Command<'_>> = commands.iter().collect();
        let mut expected = form.write(&commands, 7, &mut Vec::new());
        let mut buffer = BytesMut::from(bytes);
        let mut replies = Vec::new();
        loop {
            let reply = Reply::take(&mut buffer).map_err(|_| "garbage")?.ok_or("too few")?;
            let is_last = expected.take(&reply).map_err(|_| "unexpected")?;
            if reply.status != Status::End {
                replies.push(reply);
            }
            if is_last {
                break;
            }
        }
        assert!(buffer.is_empty(), "the last reply was taken for the last one");
        form.sort(&commands, replies).map_err(|why| if why == Unsorted::Unclear { "unclear" } else { "mixed up" })
    }

    fn values(replies: &[Reply]) -> Vec<&str> {
        let text = |reply| std::str::from_utf8(Reply::data(reply)).expect("it is text");
        replies.iter().map(|reply| if reply.status == Status::Value { text(reply) } else { "" }).collect()
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
        let item = Item::new(&Value::Int(5), None).expect("it is kept");
        let text = written(&[const { "k" }; MANY].map(|key| Command::Set(key, &item, 0)));
        let quiet = "ms k 1 F2 q\r\n5\r\n".repeat(MANY - 1);
        assert_eq!(text, format!("{quiet}ms k 1 F2 O7\r\n5\r\nmn\r\n"));
    }

    #[test]
    fn values_come_to_their_keys_and_misses_between() {
        let keys = keys(5);
        let found = |bytes| answered(&keys, Form::Gets, bytes);
        let replies =
            found("VA 1 f256 O7\r\na\r\nVALUE k2 256 1\r\nc\r\nVALUE k3 2 1\r\n4\r\nEND\r\n").expect("they fit");
        assert_eq!(values(&replies), ["a", "", "c", "4", ""]);
        assert_eq!(replies[3].flags, 2);
        assert_eq!(values(&found("EN O7\r\nEND\r\n").expect("they fit")), [""; 5]);
        let all = "VALUE k1 0 1\r\nb\r\nVALUE k2 0 1\r\nc\r\nVALUE k3 0 1\r\nd\r\nVALUE k4 0 1\r\ne\r\nEND\r\n";
        let replies = found(&format!("VA 1 f0 O7\r\na\r\n{all}")).expect("they fit");
        assert_eq!(values(&replies), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn the_same_key_may_be_asked_for_twice() {
        let keys = ["a", "b", "b", "a"].map(str::to_owned);
        let bytes = "VA 1 f0 O7\r\n1\r\nVALUE b 0 1\r\n2\r\nVALUE b 0 1\r\n2\r\nVALUE a 0 1\r\n1\r\nEND\r\n";
        assert_eq!(values(&answered(&keys, Form::Gets, bytes).expect("they fit")), ["1", "2", "2", "1"]);
    }

    #[test]
    fn an_error_in_place_of_values_is_that_of_all_that_did_not_come() {
        let bytes = "VA 1 f0 O7\r\na\r\nVALUE k1 0 1\r\nb\r\nSERVER_ERROR no memory\r\n";
        let replies = answered(&keys(4), Form::Gets, bytes).expect("they fit");
        assert_eq!(values(&replies), ["a", "b", "", ""]);
        assert!(replies[2..].iter().all(is_refusal));
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
            ("EN O7\r\nVALUE k2 0 1\r\nc\r\nVALUE k1 0 1\r\nb\r\nEND\r\n", "mixed up"),
            ("EN O7\r\nVALUE k0 0 1\r\na\r\nEND\r\n", "mixed up"),
            ("EN O7\r\nVALUE K1 0 1\r\na\r\nVALUE k2 0 1\r\na\r\nEND\r\n", "mixed up"),
            ("EN O7\r\nVALUE k1 0 1\r\na\r\nVALUE k1 0 1\r\na\r\nVALUE k2 0 1\r\na\r\nEND\r\n", "unexpected"),
            ("EN O7\r\n", "too few"),
        ] {
            assert_eq!(answered(&keys(3), Form::Gets, bytes), Err(why), "{bytes:?}");
        }
    }

    #[test]
    fn sets_are_all_done_or_it_is_unclear_which() {
        let answered = |bytes| answered(&keys(3), Form::Sets, bytes).map(|replies| replies.len());
        assert_eq!(answered("HD O7\r\nMN\r\n"), Ok(3));
        for bytes in ["SERVER_ERROR a\r\nHD O7\r\nMN\r\n", "SERVER_ERROR a\r\nMN\r\n", "NS O7\r\nMN\r\n"] {
            assert_eq!(answered(bytes), Err("unclear"), "{bytes:?}");
        }
        for bytes in ["MN\r\n", "HD O6\r\nMN\r\n", "HD\r\nMN\r\n", "HD O7\r\nVALUE k 0 1\r\na\r\nMN\r\n"] {
            assert_eq!(answered(bytes), Err("unexpected"), "{bytes:?}");
        }
    }
}
