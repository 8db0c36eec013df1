//! Finding out whether this process can store entries, without leaving any trace.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cache_core::{Error, ErrorKind, Result, Value};

use crate::{directory::failed, entries::Entries, entry_file::Expiry, permissions};

/// Stores an entry in a temporary directory, and writes to the directory and its shards.
pub(crate) fn run(entries: &Entries) -> Result<()> {
    let path = entries.directory.path();
    let created = create(path)?;
    let outcome = check(entries);
    // From the innermost outwards. One that is not empty is in use by now.
    for directory in created {
        let _ = fs::remove_dir(directory);
    }
    outcome
}

/// Creates the directory and returns those that were missing, the innermost first.
fn create(path: &Path) -> Result<Vec<PathBuf>> {
    let missing = path.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
    permissions::create_dir_all(path).map_err(|error| failed("create", path, error))?;
    Ok(missing)
}

fn check(entries: &Entries) -> Result<()> {
    entries.directory.try_to_write(None)?;
    let path = entries.directory.path();
    let temporary = permissions::create_temporary_dir_in(path)
        .map_err(|error| failed("write to", path, error))?;
    let outcome = round_trip(entries, temporary.path().to_owned());
    let removed = temporary.close();
    outcome?;
    removed.map_err(|error| failed("write to", path, error))?;
    (0..=u8::MAX).try_for_each(|shard| {
        drop(entries.directory.list(shard)?);
        entries.directory.try_to_write(Some(shard))
    })
}

fn round_trip(entries: &Entries, path: PathBuf) -> Result<()> {
    let entries = Arc::new(Entries::new(path, entries.options, entries.clock.clone()));
    let (operation, target) = (entries.start_operation(), entries.target("check"));
    let expiry = Expiry::after(Some(Duration::from_secs(3600)), &entries.clock);
    entries.set(&target, &Value::Int(1), expiry, &operation)?;
    let sum = entries.incr(&target, 1, &operation)?;
    let value = entries.get(&target)?;
    let existed = entries.delete(&target, &operation)?;
    entries.sweeper.close();
    if (sum, value, existed) != (Some(2), Some(Value::Int(2)), true) {
        let path = entries.directory.path().display();
        let message = format!("cannot read what was written to {path}");
        return Err(Error::new(ErrorKind::Backend, message));
    }
    Ok(())
}
