//! What a subscriber has delivered into tables, read as another program would read it, beside the tables it came from.

use std::collections::{BTreeMap, BTreeSet};

use bridge_pgwire::{Session, literal, quoted};

use crate::contracts::Contract;
use crate::servers::{Servers, ask};

/// One dataset at both ends.
struct Pair {
    dataset: String,
    department: String,
    key: Vec<String>,
    columns: Vec<String>,
    source: String,
    sink: String,
}

/// How one dataset's two tables compare.
struct Compared {
    equal: usize,
    missing: usize,
    surplus: usize,
}

/// One receiving department's tables.
pub(crate) struct Tables {
    pub(crate) department: String,
    sink: Session,
    sources: BTreeMap<String, Session>,
    pairs: Vec<Pair>,
}

impl Tables {
    /// The tables of a department, with the columns that its grants let it see.
    pub(crate) fn of(servers: &Servers, department: &str, contracts: &[&Contract]) -> anyhow::Result<Tables> {
        let mut sources = BTreeMap::new();
        let mut pairs = Vec::new();
        for contract in contracts {
            if !sources.contains_key(&contract.department) {
                let session = servers.session(&Servers::database(&contract.department))?;
                sources.insert(contract.department.clone(), session);
            }
            let columns = contract.visible_to(department).into_iter().map(ToOwned::to_owned).collect();
            let name = format!("{}__{}", contract.department, contract.dataset).replace('-', "_");
            pairs.push(Pair {
                dataset: contract.name(),
                department: contract.department.clone(),
                key: contract.key.clone(),
                columns,
                source: format!("public.{}", quoted(&contract.table)),
                sink: format!("govbridge.{}", quoted(&name)),
            });
        }
        let sink = servers.session(&Servers::received(department))?;
        Ok(Tables { department: department.to_owned(), sink, sources, pairs })
    }

    /// How many datasets come here.
    pub(crate) fn datasets(&self) -> usize {
        self.pairs.len()
    }

    /// Compares each table with its source's granted columns, row for row: how many rows are the same at both ends, and a
    /// line for each table where some are not.
    pub(crate) fn compare(&mut self) -> anyhow::Result<(usize, Vec<String>)> {
        let (mut rows, mut found) = (0, Vec::new());
        for pair in &self.pairs {
            let Some(source) = self.sources.get_mut(&pair.department) else { continue };
            let compared = compare(pair, source, &mut self.sink)?;
            rows += compared.equal;
            if compared.missing + compared.surplus > 0 {
                found.push(format!(
                    "{}: the table of {} lacks {} rows as the source has them, and has {} others",
                    self.department, pair.dataset, compared.missing, compared.surplus
                ));
            }
        }
        Ok((rows, found))
    }

    /// The row of a dataset with this key, column by column; none when it is not here.
    pub(crate) fn row(
        &mut self,
        dataset: &str,
        key: &BTreeMap<String, String>,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let Some(pair) = self.pairs.iter().find(|pair| pair.dataset == dataset) else {
            return Ok(BTreeMap::new());
        };
        let part = |column: &String| {
            let value = key.get(column).map_or("", String::as_str);
            format!("CAST({} AS text) = {}", quoted(column), literal(value))
        };
        let which: Vec<String> = pair.key.iter().map(part).collect();
        let select = format!("SELECT {} FROM {} WHERE {}", texts(pair), pair.sink, which.join(" AND "));
        let row = ask(&mut self.sink, &select)?.into_iter().next().unwrap_or_default();
        let values = row.into_iter().map(|value| value.unwrap_or_else(|| "null".to_owned()));
        Ok(pair.columns.iter().cloned().zip(values).collect())
    }
}

/// Every column as the server writes it, so that both ends write one value alike.
fn texts(pair: &Pair) -> String {
    let columns: Vec<String> =
        pair.columns.iter().map(|column| format!("CAST({} AS text)", quoted(column))).collect();
    columns.join(", ")
}

fn compare(pair: &Pair, source: &mut Session, sink: &mut Session) -> anyhow::Result<Compared> {
    let rows = |session: &mut Session, table: &str| {
        let all = ask(session, &format!("SELECT {} FROM {table}", texts(pair)))?;
        // Keys make rows differ, so that a set loses none.
        anyhow::Ok(all.into_iter().collect::<BTreeSet<_>>())
    };
    let (wanted, got) = (rows(source, &pair.source)?, rows(sink, &pair.sink)?);
    Ok(Compared {
        equal: wanted.intersection(&got).count(),
        missing: wanted.difference(&got).count(),
        surplus: got.difference(&wanted).count(),
    })
}
