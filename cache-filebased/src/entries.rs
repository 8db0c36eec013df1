//! What each operation does on the disk, from beginning to end. All of it may block.

use std::{path::Path, sync::Arc};

use cache_core::{Bytes, Clock, Error, Result, Ttl, Value};

use crate::{
    FileBasedOptions,
    call::{Adrift, Call},
    entry_file::{self, Entry, Expiry, Payload, Unusable},
    folder::{Folder, Held, Listed, Place, failed},
    reading::{self, Glance},
    sweep::Sweeper,
};

/// A folder of entries, with the clock they expire by and what keeps them from becoming too many.
#[derive(Debug)]
pub(crate) struct Entries {
    pub(crate) folder: Folder,
    pub(crate) clock: Clock,
    pub(crate) options: FileBasedOptions,
    pub(crate) sweeper: Sweeper,
    pub(crate) adrift: Adrift,
}

/// Which entry an operation is about.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) key: String,
    pub(crate) place: Place,
}

impl Entries {
    pub(crate) fn call(&self) -> Call {
        Call::begin(self.options.lock_timeout, &self.adrift)
    }

    pub(crate) fn target(&self, key: &str) -> Target {
        Target { key: key.to_owned(), place: self.folder.place(key) }
    }

    /// What `look` makes of the entry, if that can be told without waiting.
    pub(crate) fn glance<T>(
        &self,
        key: &str,
        look: impl FnOnce(Entry<'_>) -> T,
    ) -> Option<Option<T>> {
        let seen = reading::glance(&self.folder.place(key).path, |file| {
            let entry = entry_file::read(file, key).ok()?;
            Some((!entry.expiry.has_come(&self.clock)).then(|| look(entry)))
        });
        match seen {
            Glance::Seen(seen) => Some(seen),
            Glance::Absent => Some(None),
            Glance::Unclear => None,
        }
    }

    /// What `look` makes of the file and the entry in it; nothing where there is none, or it expired, or can't be used.
    pub(crate) fn look<T>(
        &self,
        target: &Target,
        look: impl FnOnce(&Bytes, Entry<'_>) -> T,
    ) -> Result<Option<T>> {
        let path = &target.place.path;
        let Some(file) =
            reading::whole(path).map_err(|error| failed("cannot be read", path, error))?
        else {
            return Ok(None);
        };
        match entry_file::read(&file, &target.key) {
            Ok(entry) if entry.expiry.has_come(&self.clock) => Ok(None),
            Ok(entry) => Ok(Some(look(&file, entry))),
            Err(why) => {
                tell(path, why);
                Ok(None)
            }
        }
    }

    /// A large value shares the memory that its file was read into.
    pub(crate) fn get(&self, target: &Target) -> Result<Option<Value>> {
        self.look(target, |file, entry| match entry.payload {
            Payload::Bytes(bytes) => Value::Bytes(file.slice_ref(bytes)),
            Payload::Int(number) => Value::Int(number),
        })
    }

    pub(crate) fn ttl(&self, target: &Target) -> Result<Option<Ttl>> {
        Ok(self.look(target, |_, entry| entry.expiry.left(&self.clock))?.flatten())
    }

    pub(crate) fn is_there(&self, target: &Target) -> Result<bool> {
        Ok(self.look(target, |_, _| ())?.is_some())
    }

    pub(crate) fn set(
        self: &Arc<Self>,
        target: &Target,
        value: &Value,
        expiry: Expiry,
        call: &Call,
    ) -> Result<()> {
        let entry = Entry { expiry, payload: Payload::of(value)? };
        let Target { key, place } = target;
        let is_new = self.folder.in_shard(place.shard, || {
            let new = self.folder.write(place, key, &entry)?;
            let held = self.hold(place.shard, call)?;
            self.folder.put(&held, place, new)
        })?;
        self.count(is_new);
        Ok(())
    }

    /// What is seen with the lock held decides; to look before spares writing a file in vain.
    pub(crate) fn add(
        self: &Arc<Self>,
        target: &Target,
        value: &Value,
        expiry: Expiry,
        call: &Call,
    ) -> Result<bool> {
        let entry = Entry { expiry, payload: Payload::of(value)? };
        let Target { key, place } = target;
        if !self.adrift.is_any() && self.is_there(target)? {
            return Ok(false);
        }
        let is_new = self.folder.in_shard(place.shard, || {
            let new = self.folder.write(place, key, &entry)?;
            let held = self.hold(place.shard, call)?;
            if self.is_there(target)? {
                return Ok(None);
            }
            self.folder.put(&held, place, new).map(Some)
        })?;
        self.count(is_new == Some(true));
        Ok(is_new.is_some())
    }

    pub(crate) fn touch(&self, target: &Target, expiry: Expiry, call: &Call) -> Result<bool> {
        let touched =
            self.rewrite(target, call, |entry| Ok(Entry { expiry, payload: entry.payload }))?;
        Ok(touched.is_some())
    }

    pub(crate) fn incr(&self, target: &Target, delta: i64, call: &Call) -> Result<Option<i64>> {
        let key = &target.key;
        let mut answer = 0;
        let counted = self.rewrite(target, call, |entry| {
            let Payload::Int(number) = entry.payload else {
                return Err(Error::not_an_integer(key));
            };
            answer =
                number.checked_add(delta).ok_or_else(|| Error::overflow(key, number, delta))?;
            Ok(Entry { expiry: entry.expiry, payload: Payload::Int(answer) })
        })?;
        Ok(counted.map(|()| answer))
    }

    /// Puts in an entry's place what `change` makes of it, unless there is none.
    fn rewrite<C>(&self, target: &Target, call: &Call, mut change: C) -> Result<Option<()>>
    where
        C: for<'a> FnMut(Entry<'a>) -> Result<Entry<'a>>,
    {
        let Target { key, place } = target;
        self.folder.in_shard(place.shard, || {
            let held = self.hold(place.shard, call)?;
            let written =
                self.look(target, |_, entry| self.folder.write(place, key, &change(entry)?))?;
            let Some(new) = written.transpose()? else { return Ok(None) };
            self.folder.put(&held, place, new)?;
            Ok(Some(()))
        })
    }

    /// Says whether the entry was alive; a file that is none is removed all the same.
    pub(crate) fn delete(&self, target: &Target, call: &Call) -> Result<bool> {
        self.folder.in_shard(target.place.shard, || {
            let held = self.hold(target.place.shard, call)?;
            let was_there = self.is_there(target)?;
            self.folder.remove(&held, &target.place.path)?;
            Ok(was_there)
        })
    }

    /// Removes every entry and what is left over in each shard, one shard after the other.
    pub(crate) fn clear(&self, call: &mut Call) -> Result<()> {
        (0..=u8::MAX).try_for_each(|shard| {
            if self.folder.list(shard)?.next().is_none() {
                return Ok(());
            }
            self.folder.in_shard(shard, || {
                call.renew();
                let held = self.hold(shard, call)?;
                self.empty(shard, &held)
            })
        })
    }

    fn empty(&self, shard: u8, held: &Held) -> Result<()> {
        for file in self.folder.list(shard)? {
            match file {
                Listed::Entry(path) => drop(self.folder.remove(held, &path)?),
                Listed::New(path) => drop(self.folder.remove_if_left_over(&path)),
            }
        }
        Ok(())
    }

    fn hold(&self, shard: u8, call: &Call) -> Result<Held> {
        let held = self.folder.lock(shard, call)?;
        call.check()?;
        Ok(held)
    }

    fn count(self: &Arc<Self>, is_new: bool) {
        if is_new && self.sweeper.one_more() {
            Sweeper::start(self);
        }
    }
}

/// Logs and counts a file that is a miss although it is there.
fn tell(path: &Path, why: Unusable) {
    metrics::counter!("cachette_unusable_total", "store" => "filebased", "reason" => why.reason())
        .increment(1);
    tracing::warn!(path = %path.display(), "a file of the cache is a miss: {why}");
}
