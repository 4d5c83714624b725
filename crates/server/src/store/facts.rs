//! Single facts about the site, and since when it has had each release.

use std::collections::HashMap;

use jiff::Timestamp;
use protocol::catalog::Catalog;
use sqlx::Row;

use super::{Store, StoreError, from_micros, to_micros};

impl Store {
    /// A fact, if it is known.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn fact(&self, name: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT value FROM facts WHERE name = ?").bind(name).fetch_optional(&self.pool).await?;
        row.map(|row| Ok(row.try_get("value")?)).transpose()
    }

    /// Sets a fact; `None` forgets it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_fact(&self, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        let query = match value {
            Some(value) => {
                sqlx::query("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)").bind(name).bind(value)
            }
            None => sqlx::query("DELETE FROM facts WHERE name = ?").bind(name),
        };
        query.execute(&self.pool).await?;
        Ok(())
    }

    /// A fact that never changes once it is there: what is stored, else `make()`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn fact_or(&self, name: &str, make: impl FnOnce() -> String) -> Result<String, StoreError> {
        if let Some(known) = self.fact(name).await? {
            return Ok(known);
        }
        sqlx::query("INSERT OR IGNORE INTO facts (name, value) VALUES (?, ?)")
            .bind(name)
            .bind(make())
            .execute(&self.pool)
            .await?;
        self.fact(name).await?.ok_or(StoreError::Damaged("a fact"))
    }

    /// Notes the releases of a catalog that are new as available from now on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn releases_available(&self, catalog: &Catalog, now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for entry in &catalog.entries {
            sqlx::query("INSERT OR IGNORE INTO releases (target, available) VALUES (?, ?)")
                .bind(&entry.target)
                .bind(to_micros(now))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Since when the site has had each release, by target path.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn releases(&self) -> Result<HashMap<String, Timestamp>, StoreError> {
        let rows = sqlx::query("SELECT target, available FROM releases").fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok((row.try_get("target")?, from_micros(row.try_get("available")?)?))).collect()
    }
}
