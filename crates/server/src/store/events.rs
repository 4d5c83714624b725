//! The stories: what happened to a device, a seat or the site, newest kept.

use jiff::Timestamp;
use sqlx::Row;

use super::{Store, StoreError, from_micros, to_micros};

/// Lines kept of one story.
const PER_SUBJECT: i64 = 100;

/// Lines kept of all stories together.
const ALTOGETHER: i64 = 200_000;

/// One line of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What, in words.
    pub text: String,
}

impl Store {
    /// Adds a line to the story of a device, a seat, or `site`, and drops what is beyond the caps.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tell(&self, subject: &str, text: &str, now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("INSERT INTO events (at, subject, text) VALUES (?, ?, ?)")
            .bind(to_micros(now))
            .bind(subject)
            .bind(text)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "DELETE FROM events WHERE subject = ?1 AND number <=
                 (SELECT number FROM events WHERE subject = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
        )
        .bind(subject)
        .bind(PER_SUBJECT)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM events WHERE number <= (SELECT max(number) FROM events) - ?")
            .bind(ALTOGETHER)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// A story, newest line first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn story(&self, subject: &str) -> Result<Vec<Event>, StoreError> {
        let rows = sqlx::query("SELECT at, text FROM events WHERE subject = ? ORDER BY number DESC")
            .bind(subject)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok(Event { at: from_micros(row.try_get("at")?)?, text: row.try_get("text")? })).collect()
    }
}
