//! Lua scripts for operations that no single command performs. The server executes a script
//! atomically.

use redis::Cmd;

/// A script and its SHA-1 hash, by which a server that has executed it knows it.
#[derive(Debug)]
pub(crate) struct Script {
    code: &'static str,
    hash: String,
}

/// The scripts of the store.
#[derive(Debug)]
pub(crate) struct Scripts {
    /// Adds to an integer if the key exists. Returns the sum as text, because numbers in Lua have
    /// only 53 bits.
    pub(crate) incr: Script,
    /// Removes the time to live of a key. Returns whether the key exists.
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

    /// Creates the command that runs the script by its hash. It fails on a server that does not
    /// know the script.
    pub(crate) fn evalsha(&self, key: &str, argument: Option<i64>) -> Cmd {
        command("EVALSHA", &self.hash, key, argument)
    }

    /// Creates the command that sends and runs the script.
    pub(crate) fn eval(&self, key: &str, argument: Option<i64>) -> Cmd {
        command("EVAL", self.code, key, argument)
    }
}

fn command(name: &str, script: &str, key: &str, argument: Option<i64>) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(1).arg(key).arg(argument);
    command
}
