//! A server: a connection that is made when it is needed, and given up when nothing is heard on it.

use std::{fmt, sync::Arc, time::Duration};

use cache_net::SharedConnection;
use tokio::time::{Instant, timeout_at};

use crate::{
    failure::{Failure, Fault},
    link::{Ask, Link, NoLink, Target},
};

/// Whether a command may be sent again when its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Doing it twice is as good as once.
    Idempotent,
    /// It is done once at most.
    Once,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) answer: Duration,
}

impl Limits {
    /// When a call that begins now has to be over.
    pub(crate) fn deadline(self) -> Instant {
        Instant::now() + self.connect + self.answer
    }
}

/// A server, which may be away.
pub(crate) struct Node {
    target: Target,
    /// Its address, for errors.
    shown: Arc<str>,
    limits: Limits,
    link: SharedConnection<Link, Failure>,
}

impl Node {
    pub(crate) fn new(target: Target, limits: Limits) -> Self {
        let shown = target.address.to_string().into();
        Self { target, shown, limits, link: SharedConnection::default() }
    }

    /// Its address, for errors.
    pub(crate) fn shown(&self) -> &Arc<str> {
        &self.shown
    }

    /// The host, for whoever is told "at the same one".
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether there is a connection that works, as far as is known.
    pub(crate) fn is_connected(&self) -> bool {
        self.link.current().is_some()
    }

    /// Lets go of the connection. Calls that wait for an answer still get it.
    pub(crate) fn close(&self) {
        drop(self.link.take());
    }

    /// Closes the connection at once, as what comes on it can't be believed.
    pub(crate) fn cut(&self) {
        if let Some(link) = self.link.take() {
            link.cut();
        }
    }

    /// The answer, before the deadline, or why there is none. What the server refuses is an answer.
    pub(crate) async fn ask<A: Ask>(
        self: &Arc<Self>,
        ask: &A,
        effect: Effect,
        deadline: Instant,
    ) -> Result<A::Answer, Failure> {
        let mut may_ask_again = effect == Effect::Idempotent;
        loop {
            let link = match self.link.current() {
                Some(link) => link,
                None => self.connected(deadline).await?,
            };
            let limit = deadline.min(Instant::now() + self.limits.answer);
            match timeout_at(limit, link.ask(ask)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => {
                    self.link.discard(&link);
                    if !may_ask_again {
                        return Err(Failure::of(Fault::Lost, &self.shown, error));
                    }
                    may_ask_again = false;
                }
                Err(_) => {
                    // Whoever asks next shall not wait on a connection that may be dead.
                    self.link.discard(&link);
                    let message = format!("no answer came within {:?}", self.limits.answer);
                    return Err(Failure::new(Fault::Silent, &self.shown, &message));
                }
            }
        }
    }

    /// The answer, where what the server refuses is a failure.
    pub(crate) async fn ask_well<A: Ask>(
        self: &Arc<Self>,
        ask: &A,
        effect: Effect,
        deadline: Instant,
    ) -> Result<A::Answer, Failure> {
        let answer = self.ask(ask, effect, deadline).await?;
        match A::refusal(&answer) {
            Some(error) => Err(Failure::said(&self.shown, error)),
            None => Ok(answer),
        }
    }

    /// A connection, made if need be.
    async fn connected(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Link>, Failure> {
        let node = Arc::clone(self);
        let attempt = self.link.get_or_connect(async move { node.connect().await });
        match timeout_at(deadline, attempt).await {
            Ok(Some(outcome)) => outcome,
            // The runtime that the attempt was made in has ended.
            Ok(None) => Err(Failure::new(Fault::Unreached, &self.shown, "connecting was given up")),
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> Failure {
        let message = format!("no connection was to be had within {:?}", self.limits.connect);
        Failure::new(Fault::Unreached, &self.shown, &message)
    }

    async fn connect(&self) -> Result<Link, Failure> {
        let opened =
            timeout_at(Instant::now() + self.limits.connect, Link::open(&self.target)).await;
        match opened {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(NoLink::Follows)) => Err(Failure::new(
                Fault::NotLeading,
                &self.shown,
                "it is a replica, and no leader is known yet",
            )),
            Ok(Err(NoLink::Error(error))) => Err(match error.kind() {
                redis::ErrorKind::Server(_)
                | redis::ErrorKind::Extension
                | redis::ErrorKind::AuthenticationFailed => refused(&self.shown, error),
                _ => Failure::of(Fault::Unreached, &self.shown, error),
            }),
            Err(_) => Err(self.silent()),
        }
    }
}

/// A server that lets nobody in.
fn refused(server: &Arc<str>, error: redis::RedisError) -> Failure {
    let said = error.clone().into_server_errors();
    let fault = match said.as_deref() {
        Some([(_, said), ..]) => Failure::said(server, said).fault,
        _ => Fault::Refused,
    };
    Failure::of(fault, server, error)
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}
