//! Administrators, their sessions in the console, and the tokens of their own programs.

use jiff::Timestamp;
use sqlx::Row;

use super::{Store, StoreError, to_micros};

impl Store {
    /// Whether there is any administrator yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn has_admin(&self) -> Result<bool, StoreError> {
        Ok(sqlx::query("SELECT 1 FROM admins LIMIT 1").fetch_optional(&self.pool).await?.is_some())
    }

    /// Adds an administrator, or gives one a new password (in PHC string format).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_admin(&self, name: &str, password: &str) -> Result<(), StoreError> {
        sqlx::query("INSERT OR REPLACE INTO admins (name, password) VALUES (?, ?)")
            .bind(name)
            .bind(password)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// An administrator's password, in PHC string format.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn admin_password(&self, name: &str) -> Result<Option<String>, StoreError> {
        let row =
            sqlx::query("SELECT password FROM admins WHERE name = ?").bind(name).fetch_optional(&self.pool).await?;
        row.map(|row| Ok(row.try_get("password")?)).transpose()
    }

    /// Opens a session, or (`expires` `None`) lets a program's token in until it is replaced. Expired ones are dropped.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_session(
        &self,
        token_hash: &[u8],
        admin: &str,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sessions WHERE expires < ?").bind(to_micros(now)).execute(&self.pool).await?;
        sqlx::query("INSERT OR REPLACE INTO sessions (token_hash, admin, expires) VALUES (?, ?, ?)")
            .bind(token_hash)
            .bind(admin)
            .bind(expires.map(to_micros))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Drops the tokens of programs, all but sessions of the console.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn drop_program_tokens(&self) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sessions WHERE expires IS NULL").execute(&self.pool).await?;
        Ok(())
    }

    /// Whose console session it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn session(&self, token_hash: &[u8], now: Timestamp) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT admin FROM sessions WHERE token_hash = ? AND expires > ?")
            .bind(token_hash)
            .bind(to_micros(now))
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| Ok(row.try_get("admin")?)).transpose()
    }

    /// Whether a program's token is good.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn program_token(&self, token_hash: &[u8]) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT 1 FROM sessions WHERE token_hash = ? AND expires IS NULL")
            .bind(token_hash)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.is_some())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn close_session(&self, token_hash: &[u8]) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sessions WHERE token_hash = ?").bind(token_hash).execute(&self.pool).await?;
        Ok(())
    }
}
