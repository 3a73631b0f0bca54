//! The SQLite table of character names: filled once, read by many, changed by people.

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, QueryBuilder, Row, Sqlite};

use crate::unicode::key;

/// Names that follow from the code point by a rule are left out: 108,000 rows that would say nothing.
const RULED_NAMES: [&str; 2] = ["CJK UNIFIED IDEOGRAPH-", "HANGUL SYLLABLE "];

/// Rows per INSERT: two variables each, far below SQLite's 32,766.
const ROWS_PER_INSERT: usize = 1_000;

/// Connections to a database file. Reads take microseconds; more would only queue at the disk.
const FILE_CONNECTIONS: u32 = 4;

/// The table `names(key, name, version)`.
#[derive(Clone, Debug)]
pub struct Table {
    pool: SqlitePool,
    /// Held for what its closing would do: a database in memory is gone with its last connection, and the pool closes one whose query was cancelled.
    _keeper: Option<Arc<SqliteConnection>>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `U+1F980`.
    pub key: String,
    /// `CRAB`.
    pub name: String,
    /// 1 when the table was filled, one more with every change of this row.
    pub version: u64,
}

impl Table {
    /// Opens the table, in memory if `database` is `:memory:`, and fills it if it is empty.
    ///
    /// # Errors
    /// If the file cannot be opened or written.
    pub async fn open(database: &str) -> Result<Table, sqlx::Error> {
        let table = connect(database).await?;
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS names (key TEXT PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL)",
        )
        .execute(&table.pool)
        .await?;
        if table.count().await? == 0 {
            table.fill().await?;
        }
        Ok(table)
    }

    /// The number of rows.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn count(&self) -> Result<u64, sqlx::Error> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM names").fetch_one(&self.pool).await?;
        Ok(count.unsigned_abs())
    }

    /// One row.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn get(&self, key: &str) -> Result<Option<Record>, sqlx::Error> {
        let row = sqlx::query("SELECT key, name, version FROM names WHERE key = ?")
            .bind(key)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| record(&row)).transpose()
    }

    /// The rows of those of `keys` that have one, in no order, in one query.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn get_many(&self, keys: &[&str]) -> Result<Vec<Record>, sqlx::Error> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT key, name, version FROM names WHERE key IN (");
        let mut list = query.separated(", ");
        for key in keys {
            list.push_bind((*key).to_owned());
        }
        query.push(")");
        query.build().fetch_all(&self.pool).await?.iter().map(record).collect()
    }

    /// Gives `key` a name, whether it had one or not, and answers the row as it is now.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn put(&self, key: &str, name: &str) -> Result<Record, sqlx::Error> {
        let row = sqlx::query(
            "INSERT INTO names (key, name, version) VALUES (?, ?, 1) \
             ON CONFLICT (key) DO UPDATE SET name = excluded.name, version = version + 1 \
             RETURNING key, name, version",
        )
        .bind(key)
        .bind(name)
        .fetch_one(&self.pool)
        .await?;
        record(&row)
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Every assigned character whose name is its own, in one transaction: all or nothing.
    async fn fill(&self) -> Result<(), sqlx::Error> {
        let names: Vec<(String, String)> = ('\0'..=char::MAX)
            .filter_map(|character| Some((key::of(character), unicode_names2::name(character)?.to_string())))
            .filter(|(_, name)| !RULED_NAMES.iter().any(|ruled| name.starts_with(ruled)))
            .collect();
        let mut transaction = self.pool.begin().await?;
        for rows in names.chunks(ROWS_PER_INSERT) {
            let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO names (key, name, version) ");
            insert.push_values(rows, |mut row, (key, name)| {
                row.push_bind(key.clone()).push_bind(name.clone()).push("1");
            });
            insert.build().execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }
}

async fn connect(database: &str) -> Result<Table, sqlx::Error> {
    if database == ":memory:" {
        // Named by sqlx and shared by its connections; one at a time, because two of them would lock each other's table.
        let options: SqliteConnectOptions = "sqlite::memory:".parse()?;
        let keeper = options.connect().await?;
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        return Ok(Table { pool, _keeper: Some(Arc::new(keeper)) });
    }
    let options = SqliteConnectOptions::new().filename(Path::new(database)).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(FILE_CONNECTIONS).connect_with(options).await?;
    Ok(Table { pool, _keeper: None })
}

fn record(row: &sqlx::sqlite::SqliteRow) -> Result<Record, sqlx::Error> {
    let version: i64 = row.try_get("version")?;
    Ok(Record { key: row.try_get("key")?, name: row.try_get("name")?, version: version.unsigned_abs() })
}

#[cfg(test)]
mod tests;
