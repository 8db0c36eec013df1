//! Lua scripts for operations that no single command performs. The server executes a script
//! atomically.
//!
//! `'\27T'` is the [head of a mark](crate::value::MARK_HEAD), which stands for the lease of an
//! absent key. `pcall` returns a table in place of an error, such as that of a key of another type.

use redis::{Cmd, ToRedisArgs};

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
    /// Adds to an integer like `incr`. If the key is absent, stores another one for a time in
    /// milliseconds, or forever, and returns that.
    pub(crate) incr_or_set: Script,
    /// Returns the stored bytes, and sets their time to live in milliseconds or removes it.
    pub(crate) get_and_touch: Script,
    /// Stores a value for a time in milliseconds, or forever, if there is none or only a mark.
    /// Returns whether it was stored.
    pub(crate) add: Script,
    /// Sets the time to live in milliseconds, or removes it. Returns whether the key exists.
    pub(crate) touch: Script,
    /// Returns the time to live like PTTL.
    pub(crate) ttl: Script,
    /// Returns the stored bytes. If there are none, stores a mark for a time in milliseconds.
    pub(crate) acquire: Script,
    /// Stores a value for a time in milliseconds, or forever, if the stored bytes are the expected
    /// ones, or if they begin with them. With a time of 0, removes them. Returns whether it did so.
    pub(crate) fill: Script,
    /// Keeps a mark for a time in milliseconds, or removes it, if it is this one.
    pub(crate) release: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            incr: Script::new(
                r"local head = redis.call('GETRANGE', KEYS[1], 0, 1)
                if head == '' or head == '\27T' then return false end
                redis.call('INCRBY', KEYS[1], ARGV[1])
                return redis.call('GET', KEYS[1])",
            ),
            incr_or_set: Script::new(
                r"local head = redis.call('GETRANGE', KEYS[1], 0, 1)
                if head == '\27T' or head == '' and redis.call('EXISTS', KEYS[1]) == 0 then
                    local set = {'SET', KEYS[1], ARGV[2]}
                    if ARGV[3] then set[4] = 'PX' set[5] = ARGV[3] end
                    redis.call(unpack(set))
                    return ARGV[2]
                end
                redis.call('INCRBY', KEYS[1], ARGV[1])
                return redis.call('GET', KEYS[1])",
            ),
            // GETEX would give a mark more time.
            get_and_touch: Script::new(
                r"local stored = redis.pcall('GET', KEYS[1])
                if type(stored) ~= 'string' or string.sub(stored, 1, 2) == '\27T' then
                    return false
                end
                if ARGV[1] then
                    redis.call('PEXPIRE', KEYS[1], ARGV[1])
                else
                    redis.call('PERSIST', KEYS[1])
                end
                return stored",
            ),
            add: Script::new(
                r"local mark = redis.pcall('GETRANGE', KEYS[1], 0, 1) == '\27T'
                local set = {'SET', KEYS[1], ARGV[1], mark and 'XX' or 'NX'}
                if ARGV[2] then set[5] = 'PX' set[6] = ARGV[2] end
                return redis.call(unpack(set)) and 1 or 0",
            ),
            touch: Script::new(
                r"if redis.pcall('GETRANGE', KEYS[1], 0, 1) == '\27T' then return 0 end
                if ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
                if redis.call('PERSIST', KEYS[1]) == 1 then return 1 end
                return redis.call('EXISTS', KEYS[1])",
            ),
            ttl: Script::new(
                r"if redis.pcall('GETRANGE', KEYS[1], 0, 1) == '\27T' then return -2 end
                return redis.call('PTTL', KEYS[1])",
            ),
            // A key of another type is a miss, and like `set`, the mark replaces it.
            acquire: Script::new(
                "local stored = redis.pcall('GET', KEYS[1])
                if type(stored) == 'string' then return stored end
                redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
                return false",
            ),
            fill: Script::new(
                "local stored
                if ARGV[2] == '1' then
                    stored = redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[1] - 1)
                else
                    stored = redis.pcall('GET', KEYS[1])
                end
                if stored ~= ARGV[1] then return 0 end
                if ARGV[4] == '0' then return redis.call('UNLINK', KEYS[1]) end
                local set = {'SET', KEYS[1], ARGV[3]}
                if ARGV[4] then set[4] = 'PX' set[5] = ARGV[4] end
                redis.call(unpack(set))
                return 1",
            ),
            release: Script::new(
                "local stored = redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[1] - 1)
                if stored ~= ARGV[1] then return 0 end
                if ARGV[2] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
                return redis.call('UNLINK', KEYS[1])",
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
    pub(crate) fn evalsha(&self, key: &str, arguments: &impl ToRedisArgs) -> Cmd {
        command("EVALSHA", &self.hash, key, arguments)
    }

    /// Creates the command that sends and runs the script.
    pub(crate) fn eval(&self, key: &str, arguments: &impl ToRedisArgs) -> Cmd {
        command("EVAL", self.code, key, arguments)
    }
}

fn command(name: &str, script: &str, key: &str, arguments: &impl ToRedisArgs) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(1).arg(key).arg(arguments);
    command
}
