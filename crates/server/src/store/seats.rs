//! Seats: a user on a PC.

use jiff::Timestamp;
use protocol::{
    Version,
    message::Gate,
    product::{Platform, ProductId},
};
use sha2::{Digest, Sha256};
use sqlx::{Row, sqlite::SqliteRow};

use super::{Store, StoreError, devices, from_micros, to_micros};

/// The key of a seat: a hash, so that no name is a key, and a seat id that another user learns opens nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatId(String);

impl SeatId {
    /// From the connector's random seat id and its user.
    pub fn of(seat: &str, user: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(b"lockstep seat\0")
            .chain_update((seat.len() as u64).to_be_bytes())
            .chain_update(seat)
            .chain_update(user)
            .finalize();
        Self(hex::encode(&digest[..16]))
    }

    /// 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A seat as it is stored.
#[derive(Debug, Clone)]
pub struct SeatRow {
    /// Its key.
    pub id: SeatId,
    /// The mail account. `None`: readiness reports are, or were, off.
    pub user: Option<String>,
    /// The PC's name for people.
    pub hostname: Option<String>,
    /// What it runs on.
    pub platform: Platform,
    /// Which product checked in. `None`: none yet.
    pub product: Option<ProductId>,
    /// Its version.
    pub version: Option<Version>,
    /// Where it stands.
    pub gate: Option<Gate>,
    /// Messages that wait.
    pub outbox: u64,
    /// The device whose updater vouched for this seat. `None`: there is no updater.
    pub device: Option<String>,
    /// Until when that word holds without being renewed.
    pub ticket_until: Timestamp,
    /// The last check-in or login.
    pub last_seen: Timestamp,
    /// What it was told last, in words.
    pub told: String,
    /// What it says is going on or went wrong there.
    pub detail: Option<String>,
    /// Since when its user is cut off because of its version. `None`: is not.
    pub cut_off_since: Option<Timestamp>,
}

/// What a check-in changes.
#[derive(Debug)]
pub struct SeatReport<'a> {
    /// From the token. `None` while readiness reports are off.
    pub user: Option<&'a str>,
    /// The PC's name for people. `None` while readiness reports are off.
    pub hostname: Option<&'a str>,
    /// What it runs on.
    pub platform: &'a Platform,
    /// Which product.
    pub product: &'a ProductId,
    /// Its version.
    pub version: &'a Version,
    /// Where it stands.
    pub gate: Gate,
    /// Messages that wait.
    pub outbox: u64,
    /// The device it is tied to, and until when without a new ticket.
    pub device: Option<(&'a str, Timestamp)>,
    /// What it says is going on. `None` while readiness reports are off.
    pub detail: Option<&'a str>,
    /// Whether its user is cut off because of its version.
    pub cut_off: bool,
}

impl Store {
    /// Makes a seat, or gives one a new token; the old one is worthless from then on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seat_logged_in(
        &self,
        id: &SeatId,
        token_hash: &[u8],
        user: Option<&str>,
        hostname: Option<&str>,
        platform: &Platform,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO seats (id, token_hash, user, hostname, os, arch, last_seen) VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET token_hash = excluded.token_hash, user = excluded.user,
                 hostname = excluded.hostname, os = excluded.os, arch = excluded.arch, last_seen = excluded.last_seen",
        )
        .bind(id.as_str())
        .bind(token_hash)
        .bind(user)
        .bind(hostname)
        .bind(&platform.os)
        .bind(&platform.arch)
        .bind(to_micros(now))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The seat that a token belongs to.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seat_of_token(&self, token_hash: &[u8]) -> Result<Option<SeatRow>, StoreError> {
        let row =
            sqlx::query("SELECT * FROM seats WHERE token_hash = ?").bind(token_hash).fetch_optional(&self.pool).await?;
        row.map(|row| read(&row)).transpose()
    }

    /// All seats, in no particular order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seats(&self) -> Result<Vec<SeatRow>, StoreError> {
        sqlx::query("SELECT * FROM seats").fetch_all(&self.pool).await?.iter().map(read).collect()
    }

    /// Stores a check-in.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seat_checked_in(
        &self,
        id: &SeatId,
        report: &SeatReport<'_>,
        told: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let gate = serde_json::to_string(&report.gate).map_err(|_| StoreError::Damaged("a gate"))?;
        sqlx::query(
            "UPDATE seats SET user = ?, hostname = ?, os = ?, arch = ?, product = ?, version = ?, gate = ?, outbox = ?,
                 device = ?, ticket_until = ?, last_seen = ?, told = ?, detail = ?,
                 cut_off_since = CASE WHEN ? THEN coalesce(cut_off_since, ?) END WHERE id = ?",
        )
        .bind(report.user)
        .bind(report.hostname)
        .bind(&report.platform.os)
        .bind(&report.platform.arch)
        .bind(report.product.as_str())
        .bind(report.version.to_string())
        .bind(gate)
        .bind(i64::try_from(report.outbox).unwrap_or(i64::MAX))
        .bind(report.device.map(|(device, _)| device))
        .bind(report.device.map_or(0, |(_, until)| to_micros(until)))
        .bind(to_micros(now))
        .bind(told)
        .bind(report.detail)
        .bind(report.cut_off)
        .bind(to_micros(now))
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Wipes every name: users, host names, words in reports, and the stories. What authenticates stays.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was wiped.
    pub async fn forget_names(&self) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("UPDATE seats SET user = NULL, hostname = NULL, outbox = 0, gate = NULL, told = '', detail = NULL")
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM events").execute(&mut *transaction).await?;
        let rows = sqlx::query("SELECT id, report FROM devices").fetch_all(&mut *transaction).await?;
        for row in rows {
            let device = devices::nameless(&devices::from_json(row.try_get("report")?)?);
            sqlx::query("UPDATE devices SET report = ?, told = '' WHERE id = ?")
                .bind(devices::to_json(&device)?)
                .bind(row.try_get::<&str, _>("id")?)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        // The freed pages and the log still hold the bytes until they are overwritten: rebuild both.
        sqlx::query("VACUUM").execute(&self.pool).await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.pool).await?;
        Ok(())
    }
}

fn read(row: &SqliteRow) -> Result<SeatRow, StoreError> {
    let damaged = |what| move || StoreError::Damaged(what);
    let product: Option<&str> = row.try_get("product")?;
    let version: Option<&str> = row.try_get("version")?;
    let gate: Option<&str> = row.try_get("gate")?;
    let outbox: i64 = row.try_get("outbox")?;
    Ok(SeatRow {
        id: SeatId(row.try_get("id")?),
        user: row.try_get("user")?,
        hostname: row.try_get("hostname")?,
        platform: Platform { os: row.try_get("os")?, arch: row.try_get("arch")? },
        product: product.map(|p| p.parse().map_err(|_| damaged("a product")())).transpose()?,
        version: version.map(|v| v.parse().map_err(|_| damaged("a version")())).transpose()?,
        gate: gate.map(|g| serde_json::from_str(g).map_err(|_| damaged("a gate")())).transpose()?,
        outbox: u64::try_from(outbox).map_err(|_| damaged("a count")())?,
        device: row.try_get("device")?,
        ticket_until: from_micros(row.try_get("ticket_until")?)?,
        last_seen: from_micros(row.try_get("last_seen")?)?,
        told: row.try_get("told")?,
        detail: row.try_get("detail")?,
        cut_off_since: row.try_get::<Option<i64>, _>("cut_off_since")?.map(from_micros).transpose()?,
    })
}
