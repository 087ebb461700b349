//! Where a database is, and who asks.

use bridge_pgwire::Tls;
use bridge_pgwire::quoted;
use zeroize::Zeroizing;

/// A database, the role that reads it, and the names of its publication and slot.
#[derive(Clone)]
pub struct Server {
    /// A host's name or address; a folder, beginning with `/`, is a Unix socket's.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role: REPLICATION, and SELECT on the shared tables. It need not be a superuser.
    pub user: String,
    /// Its password, where the server asks for one (SCRAM-SHA-256).
    pub password: Option<Zeroizing<String>>,
    /// How the sessions are encrypted.
    pub tls: Tls,
    /// The publication that names the shared tables.
    pub publication: String,
    /// The slot that keeps the place: a-z, 0-9 and `_`.
    pub slot: String,
}

impl Server {
    /// Where a session of any kind goes.
    pub(crate) fn session(&self) -> bridge_pgwire::Server {
        bridge_pgwire::Server {
            host: self.host.clone(),
            port: self.port,
            database: self.database.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            tls: self.tls.clone(),
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("publication", &self.publication)
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

/// A table's schema and name: `public` where a contract names no schema.
pub(crate) fn schema_and_name(table: &str) -> (&str, &str) {
    table.split_once('.').unwrap_or(("public", table))
}

/// A table as SQL writes it.
pub(crate) fn qualified(table: &str) -> String {
    let (schema, name) = schema_and_name(table);
    format!("{}.{}", quoted(schema), quoted(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_without_a_schema_is_in_public() {
        assert_eq!(qualified("tax.pay"), "\"tax\".\"pay\"");
        assert_eq!(qualified("pay"), "\"public\".\"pay\"");
    }
}
