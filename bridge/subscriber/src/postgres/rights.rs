//! Which statement gives a role the right that it lacks.

use bridge_pgwire::quoted;

use super::SinkError;
use crate::settings::Postgres;

/// Whose rights they are, and over what.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    database: String,
    schema: String,
    user: String,
}

impl Rights {
    pub(crate) fn of(settings: &Postgres) -> Rights {
        Rights::over(&settings.database, &settings.schema, &settings.user)
    }

    pub(super) fn over(database: &str, schema: &str, user: &str) -> Rights {
        Rights { database: quoted(database), schema: quoted(schema), user: quoted(user) }
    }

    /// Adds the statement that an owner or a DBA runs, when a right is all that is missing while rows are delivered.
    pub(crate) fn explain(&self, error: SinkError) -> SinkError {
        let Rights { schema, user, .. } = self;
        let tables = format!(
            "GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user}"
        );
        self.add(error, &tables)
    }

    /// The same while the sink is made.
    pub(super) fn explain_making(&self, error: SinkError) -> SinkError {
        let Rights { schema, user, .. } = self;
        self.add(error, &format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}"))
    }

    fn add(&self, error: SinkError, otherwise: &str) -> SinkError {
        let SinkError::Denied(what) = error else { return error };
        let Rights { database, user, .. } = self;
        let over_database = |right: &str| format!("GRANT {right} ON DATABASE {database} TO {user}");
        // What only an owner may do comes with its own statement, and a wrong password is no matter of rights.
        let of_owner = |words: &str| words.contains("must be owner") || words.contains("have the owner run");
        let statement = if !what.contains("SQLSTATE 42501") || of_owner(&what) {
            return SinkError::Denied(what);
        } else if what.contains("temporary tables") {
            over_database("TEMPORARY")
        } else if what.contains("for database") {
            over_database("CREATE")
        } else {
            otherwise.to_owned()
        };
        SinkError::Denied(format!("{what}; have the owner or a DBA run: {statement}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(words: &str, making: bool) -> String {
        let rights = Rights::over("received", "a", "sink");
        let error = SinkError::Denied(words.to_owned());
        let error = if making { rights.explain_making(error) } else { rights.explain(error) };
        error.to_string()
    }

    #[test]
    fn a_right_that_is_missing_comes_with_the_statement_that_gives_it() {
        for (words, making, statement) in [
            (
                "permission denied for database received (SQLSTATE 42501)",
                true,
                "GRANT CREATE ON DATABASE \"received\" TO \"sink\"",
            ),
            (
                "permission denied for schema a (SQLSTATE 42501)",
                true,
                "GRANT USAGE, CREATE ON SCHEMA \"a\" TO \"sink\"",
            ),
            (
                "permission denied for table tax__p (SQLSTATE 42501)",
                false,
                "UPDATE, DELETE ON ALL TABLES IN SCHEMA \"a\" TO \"sink\"",
            ),
            (
                "permission denied to create temporary tables in database \"received\" (SQLSTATE 42501)",
                false,
                "GRANT TEMPORARY ON DATABASE",
            ),
        ] {
            assert!(explained(words, making).contains(statement), "{words}");
        }
        for words in
            ["password authentication failed (SQLSTATE 28P01)", "must be owner of table t (SQLSTATE 42501)"]
        {
            assert!(!explained(words, false).contains("GRANT"), "{words}");
        }
        let told = "denied (SQLSTATE 42501); have the owner run: ALTER TABLE t ADD c text";
        assert!(!explained(told, false).contains("GRANT"), "what the owner runs is told already");
    }
}
