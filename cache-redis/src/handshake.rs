//! The first exchange on a connection: the login, and what the server says about itself.
//!
//! All commands are sent at once and cost one round trip. Some are courtesies: the connection works
//! without them, so an error in reply to one is ignored. A proxy may close the connection instead
//! of replying; the next attempt then leaves them out.

use std::io;

use bytes::BytesMut;
use redis::{Cmd, Value, cmd};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::{
    connection::{ConnectError, Target},
    failure::{Fault, fault_of},
};

/// The maximum length of a reply in bytes. Replies to the commands of a handshake are short.
const MAX_REPLY: usize = 1 << 20;

/// How deep arrays are nested in the replies to the commands of a handshake, at most.
const MAX_DEPTH: usize = 4;

/// How many keys are asked for to find out whether the server is one of several in a cluster. If
/// there are two, one of them has all of these keys in one of 65,536 cases.
const PROBES: usize = 16;

/// The user, the password and the database.
#[derive(Clone, Default)]
pub(crate) struct Login {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) db: u32,
}

/// Which parts of the handshake the server understands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// Whether to send the courtesies.
    pub(crate) courtesies: bool,
    /// Whether to send the user name. Redis 5 knows only a password.
    pub(crate) username: bool,
}

/// What a server says about itself, as far as it does.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Its setting `proto-max-bulk-len`: the size in bytes of the largest value.
    pub(crate) max_value: Option<usize>,
    /// The number of servers that share the slots of a cluster.
    cluster_size: Option<usize>,
}

/// Why a command is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// An error in reply to it is an error of the connection.
    Required,
    /// The server must be a primary.
    Role,
    Courtesy,
    MaxValue,
    ClusterSize,
}

/// Performs the handshake.
pub(crate) async fn perform<S>(
    stream: &mut S,
    target: &Target,
    manners: Manners,
) -> Result<Facts, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut peer = Peer { stream, received: BytesMut::new() };
    let mut facts = Facts::default();
    let commands = commands(target, manners);
    let mut replies = peer.send(commands.iter().map(|(_, command)| command)).await;
    let mut rejection = None;
    for (position, (purpose, _)) in commands.iter().enumerate() {
        let reply = match peer.reply(&mut replies).await {
            Ok(reply) => reply,
            // A server that rejects the client says why and closes the connection. A proxy does so
            // after a command that it does not know.
            Err(lost) => {
                return Err(match rejection {
                    Some(error) if fault_of(&error) != Fault::Rejected => {
                        ConnectError::Server(error)
                    }
                    _ if manners.courtesies => lost.after_courtesy(),
                    _ => lost,
                });
            }
        };
        match (purpose, reply) {
            (Purpose::Required | Purpose::Role, Value::ServerError(error)) => {
                return Err(ConnectError::Server(error));
            }
            (_, Value::ServerError(error)) if error.code() == "NOAUTH" => {
                return Err(ConnectError::Server(error));
            }
            (_, Value::ServerError(error)) if position == 0 => rejection = Some(error),
            (Purpose::Role, reply) if !is_primary(&reply) => return Err(ConnectError::Replica),
            (Purpose::MaxValue, reply) => facts.max_value = max_value(&reply),
            (Purpose::ClusterSize, reply) => facts.cluster_size = cluster_size(&reply),
            _ => {}
        }
    }
    if facts.cluster_size.is_some_and(|size| size > 1) {
        peer.expect_all_slots().await?;
    }
    peer.expect_nothing().map(|()| facts)
}

fn commands(target: &Target, manners: Manners) -> Vec<(Purpose, Cmd)> {
    let mut commands = Vec::new();
    if let Some(password) = &target.login.password {
        let username = target.login.username.as_ref().filter(|_| manners.username);
        commands.push((Purpose::Required, cmd("AUTH").arg(username).arg(password).to_owned()));
    }
    if target.login.db != 0 {
        commands.push((Purpose::Required, cmd("SELECT").arg(target.login.db).to_owned()));
    }
    if target.must_be_primary {
        commands.push((Purpose::Role, cmd("ROLE")));
    }
    if manners.courtesies {
        commands.extend(courtesies(target));
    }
    commands
}

fn courtesies(target: &Target) -> impl Iterator<Item = (Purpose, Cmd)> {
    let named = |what: &[&str], value: &str| {
        let command = cmd("CLIENT").arg(what).arg(value).to_owned();
        (!value.is_empty()).then_some((Purpose::Courtesy, command))
    };
    let name = target.client_name.as_deref().unwrap_or_default();
    let config = cmd("CONFIG").arg("GET").arg("proto-max-bulk-len").to_owned();
    let cluster = cmd("CLUSTER").arg("INFO").to_owned();
    let is_single = (!target.in_cluster).then_some((Purpose::ClusterSize, cluster));
    [
        named(&["SETINFO", "LIB-NAME"], &target.library.0),
        named(&["SETINFO", "LIB-VER"], &target.library.1),
        named(&["SETNAME"], name),
        Some((Purpose::MaxValue, config)),
        is_single,
    ]
    .into_iter()
    .flatten()
}

fn is_primary(reply: &Value) -> bool {
    let Value::Array(role) = reply else { return false };
    role.first() == Some(&Value::BulkString(b"master".to_vec()))
}

/// Parses the reply to `CONFIG GET proto-max-bulk-len`.
fn max_value(reply: &Value) -> Option<usize> {
    let Value::Array(pair) = reply else { return None };
    let [_, Value::BulkString(size)] = &**pair else { return None };
    str::from_utf8(size).ok()?.parse().ok()
}

/// Parses the reply to `CLUSTER INFO`.
fn cluster_size(reply: &Value) -> Option<usize> {
    let Value::BulkString(info) = reply else { return None };
    let info = str::from_utf8(info).ok()?;
    info.lines().find_map(|line| line.strip_prefix("cluster_size:"))?.trim().parse().ok()
}

/// The server, during the handshake.
struct Peer<'a, S> {
    stream: &'a mut S,
    received: BytesMut,
}

/// Replies that are still to come, and the error if the commands could not be sent.
struct Pending(Option<io::Error>);

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<'_, S> {
    async fn send<'a>(&mut self, commands: impl Iterator<Item = &'a Cmd>) -> Pending {
        let bytes: Vec<u8> = commands.flat_map(Cmd::get_packed_command).collect();
        let sent = match self.stream.write_all(&bytes).await {
            Ok(()) => self.stream.flush().await,
            Err(error) => Err(error),
        };
        Pending(sent.err())
    }

    /// Reads a reply. If the commands could not be sent, the reason may have arrived nevertheless.
    async fn reply(&mut self, pending: &mut Pending) -> Result<Value, ConnectError> {
        loop {
            if let Some(length) = reply_length(&self.received, MAX_DEPTH)? {
                let reply = self.received.split_to(length);
                return redis::parse_redis_value(&reply).map_err(|_| ConnectError::Protocol);
            }
            if self.received.len() > MAX_REPLY {
                return Err(io::Error::other("the server sent a reply that is too long").into());
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => {
                    let closed = || io::Error::other("the server closed the connection");
                    return Err(pending.0.take().unwrap_or_else(closed).into());
                }
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Fails if the server redirects any of the probes to another server of the cluster. A proxy
    /// that passes on `CLUSTER INFO` executes all of them.
    async fn expect_all_slots(&mut self) -> Result<(), ConnectError> {
        let probe = |number| cmd("EXISTS").arg(format!("cachette-probe-{number}")).to_owned();
        let probes: Vec<Cmd> = (0..PROBES).map(probe).collect();
        let mut replies = self.send(probes.iter()).await;
        let mut is_redirected = false;
        for _ in &probes {
            let reply = self.reply(&mut replies).await?;
            is_redirected |= matches!(&reply, Value::ServerError(error) if error.code() == "MOVED");
        }
        if is_redirected { Err(ConnectError::InCluster) } else { Ok(()) }
    }

    /// Fails if the server sent more than the replies, which would then be taken for the replies to
    /// other commands.
    fn expect_nothing(&self) -> Result<(), ConnectError> {
        match self.received.len() {
            0 => Ok(()),
            extra => {
                let message = format!("the server sent {extra} unexpected bytes at connecting");
                Err(io::Error::other(message).into())
            }
        }
    }
}

/// The length of the first reply, or `None` if it is not complete. Arrays may be nested `depth`
/// levels deep.
fn reply_length(bytes: &[u8], depth: usize) -> Result<Option<usize>, ConnectError> {
    let Some(&kind) = bytes.first() else { return Ok(None) };
    if !b"+-:$*".contains(&kind) || depth == 0 {
        return Err(ConnectError::Protocol);
    }
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let (line, mut length) = (&bytes[1..end], end + 2);
    let number = || str::from_utf8(line).ok()?.parse::<i64>().ok();
    match kind {
        b'$' => {
            // A negative number is nil.
            let number = number().ok_or(ConnectError::Protocol)?;
            if let Ok(size) = usize::try_from(number) {
                length = length.saturating_add(size).saturating_add(2);
            }
        }
        b'*' => {
            for _ in 0..number().ok_or(ConnectError::Protocol)?.max(0) {
                let rest = bytes.get(length..).unwrap_or_default();
                let Some(element) = reply_length(rest, depth - 1)? else { return Ok(None) };
                length += element;
            }
        }
        _ => {}
    }
    Ok((length <= bytes.len()).then_some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_is_complete_at_its_last_byte() {
        let replies = [
            &b"+OK\r\n"[..],
            b"-ERR max number of clients reached\r\n",
            b":-1\r\n",
            b"$-1\r\n",
            b"$0\r\n\r\n",
            b"$2\r\n\r\n\r\n",
            b"*0\r\n",
            b"*3\r\n$6\r\nmaster\r\n:5\r\n*1\r\n$1\r\nx\r\n",
        ];
        for reply in replies {
            for length in 0..reply.len() {
                assert!(matches!(reply_length(&reply[..length], MAX_DEPTH), Ok(None)), "{reply:?}");
            }
            let more = [reply, b"+OK\r\n"].concat();
            let length = reply_length(&more, MAX_DEPTH).ok().flatten();
            assert_eq!(length, Some(reply.len()), "{reply:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_a_reply_are_an_error() {
        let nested = b"*1\r\n".repeat(100_000);
        for bytes in [&b"ERROR\r\n"[..], b"$x\r\n", b"*x\r\n", b"*1\r\nx", &nested] {
            assert!(reply_length(bytes, MAX_DEPTH).is_err(), "{bytes:?}");
        }
    }
}
