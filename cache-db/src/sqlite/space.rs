//! Space on the disk: room in reserve for removals, and free pages that go back to the file system.

use std::path::Path;

use rusqlite::Connection;

use super::checkpoint::MAX_WAL_PAGES;

/// The size of a page with its header in the WAL. Other page sizes are rare.
const FRAME_BYTES: u64 = PAGE_BYTES + 24;

/// The size of a page in the file.
const PAGE_BYTES: u64 = 4096;

/// The number of pages in the WAL above which writes that need space wait for a checkpoint.
pub(super) const WAL_PAGES_LIMIT: u32 = 4 * MAX_WAL_PAGES;

/// The number of pages that the WAL must have room for, so that the disk does not count as full.
pub(super) const MIN_WAL_PAGES: u32 = MAX_WAL_PAGES / 10;

/// The number of pages of the WAL that only removals use once the disk is full. A delete writes up
/// to ten pages; a clear writes one for each 400 pages of the table.
pub(super) const RESERVED_PAGES: u32 = 256;

/// A file with fewer free pages is not vacuumed: 1 MiB.
const MIN_FREE_PAGES: i64 = 256;

/// The number of pages that are given back while other writers wait.
const PAGES_AT_ONCE: i64 = 256;

/// The number of pages that so many bytes take.
pub(super) fn pages_of(bytes: usize) -> u32 {
    u32::try_from((bytes as u64).div_ceil(PAGE_BYTES)).unwrap_or(u32::MAX)
}

/// Allocates this many pages of the WAL on the disk. Returns `false` if the disk is full, or if
/// too little would be left of it for a checkpoint: each page in the WAL can be a new one of the
/// file, and a WAL that cannot be moved into the file takes its space for good.
#[cfg(target_os = "linux")]
pub(super) fn allocate(wal: &Path, pages: u32) -> bool {
    use std::os::unix::fs::MetadataExt;

    use rustix::{
        fs::{FallocateFlags, fallocate, fstatvfs},
        io::Errno,
    };

    // Without a WAL, which only a writable file has, there is nothing to allocate.
    let Ok(file) = std::fs::OpenOptions::new().write(true).open(wal) else { return true };
    let bytes = u64::from(pages) * FRAME_BYTES;
    let allocated = file.metadata().map_or(0, |metadata| metadata.blocks() * 512);
    let needed = bytes.saturating_sub(allocated) + u64::from(pages) * PAGE_BYTES;
    // A tmpfs without a limit has no size.
    let has_room = fstatvfs(&file).map_or(true, |system| {
        system.f_blocks == 0 || system.f_bavail.saturating_mul(system.f_frsize) >= needed
    });
    // Some file systems cannot allocate.
    has_room
        && !matches!(
            fallocate(file, FallocateFlags::empty(), 0, bytes),
            Err(Errno::NOSPC | Errno::DQUOT)
        )
}

#[cfg(not(target_os = "linux"))]
pub(super) fn allocate(_: &Path, _: u32) -> bool {
    true
}

/// Lets SQLite truncate a WAL that has become larger than what is allocated, when the WAL restarts.
pub(super) fn limit_wal(connection: &Connection) -> rusqlite::Result<()> {
    let bytes = u64::from(MAX_WAL_PAGES + RESERVED_PAGES) * FRAME_BYTES;
    connection.pragma_update_and_check(None, "journal_size_limit", bytes as i64, |_| Ok(()))
}

/// Whether most of the file is free and can be given back.
///
/// A file that holds other tables is never vacuumed, even if this crate created it.
pub(super) fn is_mostly_free(connection: &Connection) -> rusqlite::Result<bool> {
    const HAS_OTHER_TABLES: &str = r"SELECT EXISTS (
        SELECT 1 FROM sqlite_schema AS here
        WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND NOT EXISTS (
            SELECT 1 FROM sqlite_schema
            WHERE type = 'index' AND tbl_name = here.name AND sql LIKE '%/* cachette %'))";
    const INCREMENTAL: i64 = 2;
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let free = number("freelist_count")?;
    Ok(free >= MIN_FREE_PAGES
        && free >= number("page_count")? / 2
        && number("auto_vacuum")? == INCREMENTAL
        && !connection.query_row(HAS_OTHER_TABLES, [], |row| row.get::<_, bool>(0))?)
}

/// Removes some free pages from the file.
pub(super) fn vacuum(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma(None, "incremental_vacuum", PAGES_AT_ONCE, |_| Ok(()))
}
