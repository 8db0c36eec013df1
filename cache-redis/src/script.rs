//! What no single command does: small programs that the server runs, each at once or not at all.

use redis::Cmd;

/// A program, and the name by which a server that has seen it knows it.
#[derive(Debug)]
pub(crate) struct Script {
    code: &'static str,
    hash: String,
}

/// The scripts of the store.
#[derive(Debug)]
pub(crate) struct Scripts {
    /// Adds to an integer that is there. The sum is read as text: a number of Lua has 53 bits.
    pub(crate) incr: Script,
    /// Ends the expiry of an entry, and says whether there is one.
    pub(crate) persist: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            incr: Script::new(
                "if redis.call('EXISTS', KEYS[1]) == 0 then return false end
                redis.call('INCRBY', KEYS[1], ARGV[1])
                return redis.call('GET', KEYS[1])",
            ),
            persist: Script::new(
                "if redis.call('PERSIST', KEYS[1]) == 1 then return 1 end
                return redis.call('EXISTS', KEYS[1])",
            ),
        }
    }
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().into() }
    }

    /// By its name: for a server that may have forgotten it.
    pub(crate) fn by_name(&self, key: &str, argument: Option<i64>) -> Cmd {
        command("EVALSHA", &self.hash, key, argument)
    }

    /// As a whole.
    pub(crate) fn whole(&self, key: &str, argument: Option<i64>) -> Cmd {
        command("EVAL", self.code, key, argument)
    }
}

fn command(name: &str, script: &str, key: &str, argument: Option<i64>) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(1).arg(key).arg(argument);
    command
}
