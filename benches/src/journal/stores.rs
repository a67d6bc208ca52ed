//! What a user would take to keep what happens: an embedded database, a transaction for each batch, a row for each message.

use rusqlite::Connection;
use tempfile::TempDir;

use super::bare::Store;
use crate::{
    messaging::message::{Payload, Small},
    plan::Failure,
    recorded,
};

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
    _dir: TempDir,
}

impl Sqlite {
    /// An empty database.
    ///
    /// # Errors
    /// When there can't be one.
    pub fn new(synchronous: Synchronous) -> Result<Sqlite, Failure> {
        let dir = recorded::directory()?;
        let connection = Connection::open(dir.path().join("messages.db"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let name = if synchronous == Synchronous::Full { "FULL" } else { "NORMAL" };
        connection.pragma_update(None, "synchronous", name)?;
        connection.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, client INTEGER, bytes BLOB)", ())?;
        Ok(Sqlite { connection, _dir: dir })
    }
}

impl Store for Sqlite {
    fn commit(&mut self, batch: &[Small]) -> Result<(), Failure> {
        let transaction = self.connection.transaction()?;
        let mut bytes = Vec::new();
        let mut insert = transaction.prepare_cached("INSERT INTO messages (client, bytes) VALUES (?1, ?2)")?;
        for message in batch {
            bytes.clear();
            message.put(&mut bytes);
            insert.execute((message.sender(), &bytes))?;
        }
        drop(insert);
        Ok(transaction.commit()?)
    }
}

const MESSAGES: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("messages");

/// redb as it is by default: a commit is on disk when it returns.
pub struct Redb {
    database: redb::Database,
    rows: u64,
    _dir: TempDir,
}

impl Redb {
    /// An empty database.
    ///
    /// # Errors
    /// When there can't be one.
    pub fn new() -> Result<Redb, Failure> {
        let dir = recorded::directory()?;
        let database = redb::Database::create(dir.path().join("messages.redb"))?;
        Ok(Redb { database, rows: 0, _dir: dir })
    }
}

impl Store for Redb {
    fn commit(&mut self, batch: &[Small]) -> Result<(), Failure> {
        let transaction = self.database.begin_write()?;
        let mut table = transaction.open_table(MESSAGES)?;
        let mut bytes = Vec::new();
        for message in batch {
            bytes.clear();
            message.put(&mut bytes);
            table.insert(self.rows, bytes.as_slice())?;
            self.rows += 1;
        }
        drop(table);
        Ok(transaction.commit()?)
    }
}
