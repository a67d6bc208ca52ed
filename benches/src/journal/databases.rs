//! What a user would take to keep what happens: an embedded database, a transaction for each batch, a row for each message.

use std::path::Path;

use redb::{ReadableDatabase, ReadableTable};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{load::Rows, store::Store};
use crate::{plan::Failure, recorded};

/// What SQLite waits for when it commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// The disk, for each transaction.
    Full,
    /// The disk at checkpoints only: what was committed last may be gone after a crash of the machine.
    Normal,
}

/// SQLite with a write-ahead log.
pub struct Sqlite {
    connection: Connection,
    dir: TempDir,
}

const SQLITE_FILE: &str = "messages.db";
const REDB_FILE: &str = "messages.redb";

impl Sqlite {
    /// An empty database.
    ///
    /// # Errors
    /// When there can't be one.
    pub fn new(synchronous: Synchronous) -> Result<Sqlite, Failure> {
        let dir = recorded::directory()?;
        let connection = Connection::open(dir.path().join(SQLITE_FILE))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let name = if synchronous == Synchronous::Full { "FULL" } else { "NORMAL" };
        connection.pragma_update(None, "synchronous", name)?;
        connection.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, bytes BLOB)", ())?;
        Ok(Sqlite { connection, dir })
    }

    /// Opens one that was closed, and goes through all rows in their order; says how many there are.
    ///
    /// # Errors
    /// What the database says.
    pub fn read_back(dir: &Path) -> Result<u64, Failure> {
        let connection = Connection::open(dir.join(SQLITE_FILE))?;
        let mut select = connection.prepare("SELECT bytes FROM messages ORDER BY id")?;
        let (mut rows, mut count) = (select.query(())?, 0);
        while let Some(row) = rows.next()? {
            count += u64::from(!row.get_ref(0)?.as_blob()?.is_empty());
        }
        Ok(count)
    }
}

impl Store for Sqlite {
    fn commit(&mut self, batch: &Rows) -> Result<(), Failure> {
        let transaction = self.connection.transaction()?;
        let mut insert = transaction.prepare_cached("INSERT INTO messages (bytes) VALUES (?1)")?;
        for row in batch.iter() {
            insert.execute((row,))?;
        }
        drop(insert);
        Ok(transaction.commit()?)
    }

    fn close(self: Box<Self>) -> Result<TempDir, Failure> {
        let Sqlite { connection, dir } = *self;
        connection.close().map_err(|(_, error)| error)?;
        Ok(dir)
    }
}

const MESSAGES: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("messages");

/// redb as it is by default: a commit is on disk when it returns.
pub struct Redb {
    database: redb::Database,
    rows: u64,
    dir: TempDir,
}

impl Redb {
    /// An empty database.
    ///
    /// # Errors
    /// When there can't be one.
    pub fn new() -> Result<Redb, Failure> {
        let dir = recorded::directory()?;
        let database = redb::Database::create(dir.path().join(REDB_FILE))?;
        Ok(Redb { database, rows: 0, dir })
    }

    /// Opens one that was closed, and goes through all rows in their order; says how many there are.
    ///
    /// # Errors
    /// What the database says.
    pub fn read_back(dir: &Path) -> Result<u64, Failure> {
        let database = redb::Database::open(dir.join(REDB_FILE))?;
        let table = database.begin_read()?.open_table(MESSAGES)?;
        let mut count = 0;
        for row in table.iter()? {
            count += u64::from(!row?.1.value().is_empty());
        }
        Ok(count)
    }
}

impl Store for Redb {
    fn commit(&mut self, batch: &Rows) -> Result<(), Failure> {
        let transaction = self.database.begin_write()?;
        let mut table = transaction.open_table(MESSAGES)?;
        for row in batch.iter() {
            table.insert(self.rows, row)?;
            self.rows += 1;
        }
        drop(table);
        Ok(transaction.commit()?)
    }

    fn close(self: Box<Self>) -> Result<TempDir, Failure> {
        let Redb { database, dir, .. } = *self;
        drop(database);
        Ok(dir)
    }
}
