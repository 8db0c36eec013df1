//! The books, loans and reviews of the library, in an SQLite database that the first start creates.

use std::{
    error::Error,
    fs, io,
    path::{self, Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use sqlx::{
    FromRow, Result, Row as _, SqlitePool,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};

const SEED: &str = include_str!("seed.sql");

/// The branches of `seed.sql`.
pub(crate) const BRANCHES: [&str; 6] =
    ["Harbour", "Hillside", "Old Town", "Riverbank", "Station", "University"];

#[derive(Clone, Debug)]
pub(crate) struct Library {
    pool: SqlitePool,
    path: PathBuf,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Book {
    pub(crate) id: i64,
    pub(crate) title: String,
    pub(crate) author: String,
    pub(crate) genre: String,
    pub(crate) year: i64,
    pub(crate) loans: i64,
    pub(crate) stars: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Review {
    pub(crate) book: i64,
    pub(crate) title: String,
    pub(crate) name: String,
    pub(crate) stars: i64,
    pub(crate) text: String,
    pub(crate) written: i64,
}

/// A name and its count.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Count {
    pub(crate) name: String,
    pub(crate) count: i64,
}

/// The most borrowed book of a branch.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Favourite {
    pub(crate) branch: String,
    pub(crate) id: i64,
    pub(crate) title: String,
    pub(crate) count: i64,
}

impl Library {
    /// Opens the database in a directory. Creates it if it does not exist.
    pub(crate) async fn open(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let path = folder.join("library.db");
        let unusable = |error| format!("cannot use {}: {error}", folder.display());
        fs::create_dir_all(folder).map_err(unusable)?;
        if !path.exists() {
            println!("creating 200,000 loans in {}", path.display());
            // Filled under another name and then renamed, so that an interrupted start leaves no
            // incomplete database.
            let draft =
                tempfile::Builder::new().prefix("draft-").tempdir_in(folder).map_err(unusable)?;
            let file = draft.path().join("library.db");
            seed(&file).await?;
            fs::rename(&file, &path).map_err(unusable)?;
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
        Ok(Self { pool, path })
    }

    /// The URL of the database, for caches in a table of it.
    pub(crate) fn url(&self) -> io::Result<String> {
        Ok(format!("sqlite:{}", path::absolute(&self.path)?.display()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) async fn size(&self) -> Result<(i64, i64)> {
        sqlx::query_as("SELECT (SELECT COUNT(*) FROM books), (SELECT COUNT(*) FROM loans)")
            .fetch_one(&self.pool)
            .await
    }

    /// The most borrowed books of all time.
    pub(crate) async fn most_borrowed(&self) -> Result<Vec<Book>> {
        let statement = "
            WITH counted AS (SELECT book, COUNT(*) AS loans FROM loans GROUP BY book)
            SELECT books.*, loans,
                (SELECT AVG(stars) FROM reviews WHERE reviews.book = books.id) AS stars
            FROM counted JOIN books ON books.id = counted.book
            ORDER BY loans DESC, books.id LIMIT 6";
        sqlx::query_as(statement).fetch_all(&self.pool).await
    }

    /// The loans of the last 24 months, the oldest first.
    pub(crate) async fn by_month(&self) -> Result<Vec<Count>> {
        let statement = "
            WITH days AS (SELECT day, COUNT(*) AS count FROM loans GROUP BY day)
            SELECT strftime('%Y-%m', day * 86400, 'unixepoch') AS name, SUM(count) AS count
            FROM days GROUP BY name ORDER BY name DESC LIMIT 24";
        let mut months: Vec<Count> = sqlx::query_as(statement).fetch_all(&self.pool).await?;
        months.reverse();
        Ok(months)
    }

    pub(crate) async fn by_genre(&self) -> Result<Vec<Count>> {
        let statement = "
            WITH counted AS (SELECT book, COUNT(*) AS loans FROM loans GROUP BY book)
            SELECT genre AS name, SUM(loans) AS count
            FROM counted JOIN books ON books.id = counted.book
            GROUP BY genre ORDER BY count DESC";
        sqlx::query_as(statement).fetch_all(&self.pool).await
    }

    /// The most borrowed book of each branch.
    pub(crate) async fn favourites(&self) -> Result<Vec<Favourite>> {
        let statement = "
            WITH counted AS (
                    SELECT branch, book, COUNT(*) AS count FROM loans GROUP BY branch, book
                ),
                ranked AS (
                    SELECT *, ROW_NUMBER() OVER (
                        PARTITION BY branch ORDER BY count DESC, book
                    ) AS place
                    FROM counted
                )
            SELECT branch, books.id, title, count FROM ranked JOIN books ON books.id = ranked.book
            WHERE place = 1 ORDER BY branch";
        sqlx::query_as(statement).fetch_all(&self.pool).await
    }

    pub(crate) async fn genres(&self) -> Result<Vec<String>> {
        sqlx::query_scalar("SELECT DISTINCT genre FROM books ORDER BY genre")
            .fetch_all(&self.pool)
            .await
    }

    pub(crate) async fn catalogue(&self, genre: &str) -> Result<Vec<Book>> {
        let statement = "
            SELECT books.*, 0 AS loans, AVG(stars) AS stars
            FROM books LEFT JOIN reviews ON reviews.book = books.id
            WHERE genre = ? GROUP BY books.id ORDER BY title";
        sqlx::query_as(statement).bind(genre).fetch_all(&self.pool).await
    }

    pub(crate) async fn book(&self, id: i64) -> Result<Option<Book>> {
        let statement = "
            SELECT books.*, (SELECT COUNT(*) FROM loans WHERE book = books.id) AS loans,
                (SELECT AVG(stars) FROM reviews WHERE reviews.book = books.id) AS stars
            FROM books WHERE id = ?";
        sqlx::query_as(statement).bind(id).fetch_optional(&self.pool).await
    }

    pub(crate) async fn reviews_of(&self, book: i64) -> Result<Vec<Review>> {
        let statement = "
            SELECT reviews.*, title FROM reviews JOIN books ON books.id = reviews.book
            WHERE book = ? ORDER BY reviews.id DESC LIMIT 50";
        sqlx::query_as(statement).bind(book).fetch_all(&self.pool).await
    }

    pub(crate) async fn newest_reviews(&self) -> Result<Vec<Review>> {
        let statement = "
            SELECT reviews.*, title FROM reviews JOIN books ON books.id = reviews.book
            ORDER BY reviews.id DESC LIMIT 4";
        sqlx::query_as(statement).fetch_all(&self.pool).await
    }

    pub(crate) async fn review(&self, book: i64, name: &str, stars: i64, text: &str) -> Result<()> {
        let statement =
            "INSERT INTO reviews (book, name, stars, text, written) VALUES (?, ?, ?, ?, ?)";
        let query = sqlx::query(statement).bind(book).bind(name).bind(stars).bind(text);
        query.bind(now()).execute(&self.pool).await.map(drop)
    }

    /// The most borrowed books of a branch in the last 30 days.
    pub(crate) async fn month_of_branch(&self, branch: &str) -> Result<Vec<Book>> {
        let statement = "
            SELECT books.*, COUNT(*) AS loans, NULL AS stars
            FROM loans JOIN books ON books.id = loans.book
            WHERE branch = ? AND day > (SELECT MAX(day) FROM loans) - 30
            GROUP BY books.id ORDER BY loans DESC, books.id LIMIT 5";
        sqlx::query_as(statement).bind(branch).fetch_all(&self.pool).await
    }

    /// The average duration of a loan in days, by branch.
    pub(crate) async fn days_kept(&self) -> Result<Vec<(String, f64)>> {
        sqlx::query_as("SELECT branch, AVG(kept) FROM loans GROUP BY branch ORDER BY branch")
            .fetch_all(&self.pool)
            .await
    }
}

async fn seed(file: &Path) -> Result<()> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .synchronous(SqliteSynchronous::Off);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    let mut transaction = pool.begin().await?;
    sqlx::raw_sql(SEED).execute(&mut *transaction).await?;
    transaction.commit().await?;
    pool.close().await;
    Ok(())
}

/// The seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

impl FromRow<'_, SqliteRow> for Book {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            title: row.try_get("title")?,
            author: row.try_get("author")?,
            genre: row.try_get("genre")?,
            year: row.try_get("year")?,
            loans: row.try_get("loans")?,
            stars: row.try_get("stars")?,
        })
    }
}

impl FromRow<'_, SqliteRow> for Review {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            book: row.try_get("book")?,
            title: row.try_get("title")?,
            name: row.try_get("name")?,
            stars: row.try_get("stars")?,
            text: row.try_get("text")?,
            written: row.try_get("written")?,
        })
    }
}

impl FromRow<'_, SqliteRow> for Count {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self { name: row.try_get("name")?, count: row.try_get("count")? })
    }
}

impl FromRow<'_, SqliteRow> for Favourite {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            branch: row.try_get("branch")?,
            id: row.try_get("id")?,
            title: row.try_get("title")?,
            count: row.try_get("count")?,
        })
    }
}
