//! The Avro schema of a section's rows, derived mechanically from the section's own.

use crate::column::{Column, ColumnType};
use crate::contract::Section;
use crate::row::States;

/// The Avro schema of the head of every row.
const EVENT_HEAD: &str = concat!(
    r#"{"type":"record","name":"EventHead","fields":["#,
    r#"{"name":"operation","type":{"type":"enum","name":"Operation","symbols":["read","insert","update","delete","truncate"]}},"#,
    r#"{"name":"commit","type":"long"},"#,
    r#"{"name":"ordinal","type":"long"},"#,
    r#"{"name":"commit_time","type":{"type":"long","logicalType":"timestamp-micros"}},"#,
    r#"{"name":"transaction","type":"long"},"#,
    r#"{"name":"index","type":"long"},"#,
    r#"{"name":"parts","type":"int"}]}"#
);

impl Section {
    /// The Avro schema of one whole row, for a row that holds `states`, as JSON.
    ///
    /// ```text
    /// record govbridge.Row
    ///   head                    record EventHead
    ///   key                     record Key: the key columns; left out for a truncate
    ///   group_<j>_before        for each disclosure group j, from 1: its columns, when there is a before state
    ///   group_<j>_after         the same, when there is an after state
    ///   before, after           the columns of no group, when there is such a state
    /// a column in a state       [T, null, Unchanged, Absent], the last two records without fields
    /// ```
    ///
    /// A reader reads `EventHead` first; its `parts` says which of the four schemas the row has. A group's columns
    /// stand in the order of the section's schema. A record without fields has no bytes, so a group's place is there
    /// in every row of these states.
    pub fn derived_schema_json(&self, states: States) -> String {
        let mut out = Derived { json: String::new(), uuid_named: false, states_named: false };
        out.json.push_str(
            r#"{"type":"record","name":"Row","namespace":"govbridge","fields":[{"name":"head","type":"#,
        );
        out.json.push_str(EVENT_HEAD);
        out.json.push('}');
        if states != States::None {
            out.record("key", "Key", self.keys(), false);
            for (group, j) in self.groups().iter().zip(1..) {
                let columns = group.columns.iter().filter_map(|&i| self.columns().get(i));
                out.states(&format!("group_{j}_"), &format!("Group{j}"), columns, states);
            }
            let rest = self.ungrouped();
            out.states("", "", rest.iter().filter_map(|&i| self.columns().get(i)), states);
        }
        out.json.push_str("]}");
        out.json
    }
}

struct Derived {
    json: String,
    /// A named type is defined where it first stands, and referred to after that.
    uuid_named: bool,
    states_named: bool,
}

impl Derived {
    fn states<'a>(
        &mut self,
        field: &str,
        name: &str,
        columns: impl Iterator<Item = &'a Column> + Clone,
        states: States,
    ) {
        if states.has_before() {
            self.record(&format!("{field}before"), &format!("{name}Before"), columns.clone(), true);
        }
        if states.has_after() {
            self.record(&format!("{field}after"), &format!("{name}After"), columns, true);
        }
    }

    fn record<'a>(
        &mut self,
        field: &str,
        name: &str,
        columns: impl IntoIterator<Item = &'a Column>,
        union: bool,
    ) {
        self.json
            .push_str(&format!(r#",{{"name":"{field}","type":{{"type":"record","name":"{name}","fields":["#));
        for (i, column) in columns.into_iter().enumerate() {
            if i > 0 {
                self.json.push(',');
            }
            self.json.push_str(&format!(r#"{{"name":"{}","type":"#, column.name));
            if union {
                self.json.push('[');
            }
            self.column_type(column.kind);
            if union {
                self.json.push_str(if self.states_named {
                    r#","null","Unchanged","Absent"]"#
                } else {
                    concat!(
                        r#","null",{"type":"record","name":"Unchanged","fields":[]},"#,
                        r#"{"type":"record","name":"Absent","fields":[]}]"#
                    )
                });
                self.states_named = true;
            }
            self.json.push('}');
        }
        self.json.push_str("]}}");
    }

    fn column_type(&mut self, kind: ColumnType) {
        let json = match kind {
            ColumnType::Boolean => r#""boolean""#,
            ColumnType::Int => r#""int""#,
            ColumnType::Long => r#""long""#,
            ColumnType::Float => r#""float""#,
            ColumnType::Double => r#""double""#,
            ColumnType::String => r#""string""#,
            ColumnType::Bytes => r#""bytes""#,
            ColumnType::Date => r#"{"type":"int","logicalType":"date"}"#,
            ColumnType::Time => r#"{"type":"long","logicalType":"time-micros"}"#,
            ColumnType::Instant => r#"{"type":"long","logicalType":"timestamp-micros"}"#,
            ColumnType::Timestamp => r#"{"type":"long","logicalType":"local-timestamp-micros"}"#,
            ColumnType::UuidFixed if self.uuid_named => r#""Uuid""#,
            ColumnType::UuidFixed => r#"{"type":"fixed","name":"Uuid","size":16,"logicalType":"uuid"}"#,
            ColumnType::UuidText => r#"{"type":"string","logicalType":"uuid"}"#,
            ColumnType::Decimal => r#"{"type":"string","logicalType":"govbridge.decimal"}"#,
        };
        self.json.push_str(json);
        self.uuid_named |= kind == ColumnType::UuidFixed;
    }
}
