//! What the server remembers: SQLite inside, one file, no other service.
//!
//! Everything that came from outside reaches a query as a bound parameter, and a row is found by a random id or a hash,
//! never by a name. A change that must not be lost is durable before it is answered (WAL, `synchronous=FULL`).

mod admins;
mod devices;
mod events;
mod facts;
mod seats;

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub use devices::{DeviceRow, Sequence, nameless};
pub use events::Event;
pub use seats::{SeatId, SeatReport, SeatRow};

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The database was made by a newer server, or is not ours.
    #[error("the database cannot be brought to this version")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A row does not read back as what was written.
    #[error("the database holds {0} that cannot be read")]
    Damaged(&'static str),
}

/// The open database. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the file, makes it (for its owner only) when it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(file: &Path) -> Result<Self, StoreError> {
        crate::platform::make_private_file(file).map_err(sqlx::Error::Io)?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
        sqlx::migrate!().run(&pool).await?;
        Ok(Self { pool })
    }

    /// Waits for running queries, then writes the log back into the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn to_micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

fn from_micros(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|_| StoreError::Damaged("a time"))
}

#[cfg(test)]
mod tests;
