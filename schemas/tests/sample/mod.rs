//! Contracts made for tests.

use schemas::{Contract, ContractFiles};

/// A section of a sample: name, the key's type, fields and their types.
pub(crate) type SampleSection<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// The files of a contract with these columns and sections.
pub(crate) fn contract(key: &str, columns: &str, sections: &[SampleSection<'_>]) -> ContractFiles {
    let mut files = ContractFiles::new();
    let mut text = format!(
        "govbridge_contract = 1\ndepartment = \"tax\"\ndataset = \"things\"\nrevision = 1\ntitle = \"x\"\n\
         origin = \"gov.example/tax/main\"\npartitions = 1\nsuite = \"international\"\n\
         [source]\ntable = \"things\"\n{key}\n[keys]\nrenew_hours = 1\nrenew_rows = 1\n"
    );
    for (name, key_type, fields) in sections {
        text += &format!(
            "[[section]]\nname = \"{name}\"\ntitle = \"x\"\nschema = \"{name}.avsc\"\ncompression = \"zstd\"\n"
        );
        if *name == "grouped" {
            text += "[[section.group]]\nname = \"one\"\ncolumns = [\"c_long\", \"c_date\"]\n\
                     [[section.group]]\nname = \"two\"\ncolumns = [\"c_string\"]\n";
        }
        let fields: Vec<String> = [("id", *key_type)]
            .iter()
            .chain(*fields)
            .map(|(name, kind)| format!("{{\"name\": \"{name}\", \"type\": {kind}}}"))
            .collect();
        let schema =
            format!("{{\"type\": \"record\", \"name\": \"Thing\", \"fields\": [{}]}}", fields.join(", "));
        files.insert(format!("{name}.avsc"), schema);
    }
    files.insert("contract.toml", text + columns);
    files
}

/// Parses files that are in order.
pub(crate) fn parse(files: &ContractFiles) -> Contract {
    Contract::parse(files).unwrap_or_else(|problems| panic!("{problems}"))
}

const TYPES: [(&str, &str); 14] = [
    ("c_boolean", "\"boolean\""),
    ("c_int", "\"int\""),
    ("c_long", "\"long\""),
    ("c_float", "\"float\""),
    ("c_double", "\"double\""),
    ("c_string", "\"string\""),
    ("c_bytes", "\"bytes\""),
    ("c_date", "{\"type\": \"int\", \"logicalType\": \"date\"}"),
    ("c_time", "{\"type\": \"long\", \"logicalType\": \"time-micros\"}"),
    ("c_instant", "{\"type\": \"long\", \"logicalType\": \"timestamp-micros\"}"),
    ("c_timestamp", "{\"type\": \"long\", \"logicalType\": \"local-timestamp-micros\"}"),
    ("c_uuid", "{\"type\": \"fixed\", \"name\": \"U\", \"size\": 16, \"logicalType\": \"uuid\"}"),
    ("c_uuid_text", "{\"type\": \"string\", \"logicalType\": \"uuid\"}"),
    ("c_decimal", "{\"type\": \"string\", \"logicalType\": \"govbridge.decimal\"}"),
];

/// A contract with every type: `grouped` has two disclosure groups, `nullable` every type again, nullable, and a key of
/// a UUID that its first column refers to.
pub(crate) fn every_type() -> Contract {
    let uuid = TYPES[11].1;
    let mut columns = "[[column]]\nname = \"id\"\ntitle = \"x\"\nclass = \"general\"\n".to_owned();
    let mut nullable = Vec::new();
    for (name, kind) in TYPES {
        let kind = if kind == uuid { "[\"null\", \"U\"]".to_owned() } else { format!("[\"null\", {kind}]") };
        nullable.push((format!("{name}_or_null"), kind));
    }
    let named = TYPES.iter().map(|(name, _)| ((*name).to_owned(), "grouped"));
    for (name, section) in named.chain(nullable.iter().map(|(name, _)| (name.clone(), "nullable"))) {
        columns += &format!(
            "[[column]]\nname = \"{name}\"\ntitle = \"x\"\nclass = \"general\"\nsection = \"{section}\"\n"
        );
    }
    let grouped: Vec<(&str, &str)> =
        TYPES.iter().map(|(name, kind)| (*name, if *kind == uuid { "\"U\"" } else { *kind })).collect();
    let nullable: Vec<(&str, &str)> =
        nullable.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
    parse(&contract(
        "key = [\"id\"]",
        &columns,
        &[("grouped", uuid, &grouped), ("nullable", uuid, &nullable)],
    ))
}
