//! Devices: PCs with an updater.

use jiff::Timestamp;
use protocol::device::Device;
use sqlx::{Row, sqlite::SqliteRow};

use super::{Store, StoreError, from_micros, to_micros};

/// A device as it is stored.
#[derive(Debug, Clone)]
pub struct DeviceRow {
    /// Ed25519, 32 bytes.
    pub public_key: Vec<u8>,
    /// The last check-in, or the enrolment.
    pub last_seen: Timestamp,
    /// The last report; what was said at enrolment before the first one.
    pub device: Device,
    /// What it was told last, in words.
    pub told: String,
}

/// Whether a sequence number was higher than any before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequence {
    /// It was; it is the highest now.
    Accepted,
    /// It was not: the request is a replay, or comes from a copy of the PC. Nothing was changed.
    Replayed,
}

impl Store {
    /// Adds a device.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_device(&self, device: &Device, public_key: &[u8], now: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO devices (id, public_key, seq, enrolled_at, last_seen, report) VALUES (?, ?, 0, ?, ?, ?)",
        )
        .bind(&device.id)
        .bind(public_key)
        .bind(to_micros(now))
        .bind(to_micros(now))
        .bind(to_json(device)?)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A device by its id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn device(&self, id: &str) -> Result<Option<DeviceRow>, StoreError> {
        let row = sqlx::query("SELECT public_key, last_seen, report, told FROM devices WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| read(&row)).transpose()
    }

    /// All devices, in no particular order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn devices(&self) -> Result<Vec<DeviceRow>, StoreError> {
        let rows = sqlx::query("SELECT public_key, last_seen, report, told FROM devices").fetch_all(&self.pool).await?;
        rows.iter().map(read).collect()
    }

    /// Takes a signed request's sequence number and, if there is one, its report: both or neither, in one statement.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn device_said(
        &self,
        id: &str,
        seq: i64,
        report: Option<&Device>,
        now: Timestamp,
    ) -> Result<Sequence, StoreError> {
        let report = report.map(to_json).transpose()?;
        let done = sqlx::query(
            "UPDATE devices SET seq = ?1, last_seen = ?2, report = coalesce(?3, report) WHERE id = ?4 AND seq < ?1",
        )
        .bind(seq)
        .bind(to_micros(now))
        .bind(report)
        .bind(id)
        .execute(&self.pool)
        .await?;
        Ok(if done.rows_affected() == 1 { Sequence::Accepted } else { Sequence::Replayed })
    }

    /// Remembers what a device was told, so that its story has one line for each change.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn device_told(&self, id: &str, told: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE devices SET told = ? WHERE id = ?").bind(told).bind(id).execute(&self.pool).await?;
        Ok(())
    }
}

/// A report without anything that could name a person: no host name, no words.
pub fn nameless(device: &Device) -> Device {
    let mut device = device.clone();
    device.hostname = String::new();
    for state in device.products.values_mut() {
        state.detail = None;
        for failed in &mut state.failed {
            failed.reason = String::new();
        }
    }
    device
}

pub(super) fn to_json(device: &Device) -> Result<String, StoreError> {
    serde_json::to_string(device).map_err(|_| StoreError::Damaged("a report"))
}

pub(super) fn from_json(report: &str) -> Result<Device, StoreError> {
    serde_json::from_str(report).map_err(|_| StoreError::Damaged("a report"))
}

fn read(row: &SqliteRow) -> Result<DeviceRow, StoreError> {
    Ok(DeviceRow {
        public_key: row.try_get("public_key")?,
        last_seen: from_micros(row.try_get("last_seen")?)?,
        device: from_json(row.try_get("report")?)?,
        told: row.try_get("told")?,
    })
}
