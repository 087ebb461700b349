//! Every type: the same value in snapshot and stream, as binary and as text, whatever the database's own settings.

use crate::bench::{Register, cell_words, table};
use connectors_source::conformance::{Recorder, Snapshot, read};
use connectors_source::{Source, Table};

/// A column's type, its literals, and the value of each in short words.
type Case = (&'static str, &'static [(&'static str, &'static str)]);

const CASES: &[Case] = &[
    ("boolean", &[("true", "value(bool(true))"), ("false", "value(bool(false))")]),
    ("smallint", &[("-32768", "-32768"), ("32767", "32767")]),
    ("integer", &[("-2147483648", "-2147483648"), ("2147483647", "2147483647")]),
    (
        "bigint",
        &[("-9223372036854775808", "-9223372036854775808"), ("9223372036854775807", "9223372036854775807")],
    ),
    ("oid", &[("4294967295", "4294967295")]),
    (
        "real",
        &[
            ("0.1", "0.10000000149011612f"),
            ("-1e-45", "-1.401298464324817e-45f"),
            ("NaN", "NaNf"),
            ("-Infinity", "-inff"),
        ],
    ),
    (
        "double precision",
        &[
            ("0.1", "0.1f"),
            ("1e308", "1e308f"),
            ("5e-324", "5e-324f"),
            ("-0", "-0.0f"),
            ("NaN", "NaNf"),
            ("Infinity", "inff"),
        ],
    ),
    (
        "numeric",
        &[
            ("0", "value(decimal(\"0\"))"),
            ("-12.30", "value(decimal(\"-12.30\"))"),
            ("0.0001", "value(decimal(\"0.0001\"))"),
            ("1e20", "value(decimal(\"100000000000000000000\"))"),
            (
                "123456789012345678901234567890.123456789",
                "value(decimal(\"123456789012345678901234567890.123456789\"))",
            ),
            ("NaN", "value(decimal(\"nan\"))"),
            ("Infinity", "value(decimal(\"infinity\"))"),
            ("-Infinity", "value(decimal(\"-infinity\"))"),
        ],
    ),
    ("numeric(12,2)", &[("1", "value(decimal(\"1.00\"))"), ("-0.005", "value(decimal(\"-0.01\"))")]),
    ("text", &[("", "''"), ("国家税务总局 👩‍👩‍👧", "'国家税务总局 👩‍👩‍👧'"), ("a\"b\\c,{}\n\t", "'a\"b\\c,{}\n\t'")]),
    ("varchar(20)", &[(" x ", "' x '")]),
    ("char(5)", &[("ab", "'ab   '")]),
    ("name", &[("tax", "'tax'")]),
    ("bytea", &[("\\x", "x''"), ("\\x00ff5c27", "x'00ff5c27'")]),
    (
        "date",
        &[
            ("1970-01-01", "value(date(0))"),
            ("0044-03-15 BC", "value(date(-735160))"),
            ("99999-12-31", "value(date(35804721))"),
            ("infinity", "value(date(2147483647))"),
            ("-infinity", "value(date(-2147483648))"),
        ],
    ),
    ("time", &[("08:30:00.25", "value(time(30600250000))"), ("24:00:00", "value(time(86400000000))")]),
    (
        "timestamp",
        &[
            ("1970-01-01 00:00:00", "value(timestamp(0))"),
            ("1969-12-31 23:59:59.999999", "value(timestamp(-1))"),
            ("4713-01-01 00:00:00 BC", "value(timestamp(-210863520000000000))"),
            ("infinity", "value(timestamp(9223372036854775807))"),
            ("-infinity", "value(timestamp(-9223372036854775808))"),
        ],
    ),
    (
        "timestamptz",
        &[
            ("1970-01-01 08:00:00+08", "value(instant(0))"),
            ("20000-01-01 00:00:00.000001+00", "value(instant(568971820800000001))"),
            ("infinity", "value(instant(9223372036854775807))"),
            ("-infinity", "value(instant(-9223372036854775808))"),
        ],
    ),
    (
        "uuid",
        &[(
            "00112233-4455-6677-8899-aabbccddeeff",
            "value(uuid([0, 17, 34, 51, 68, 85, 102, 119, 136, 153, 170, 187, 204, 221, 238, 255]))",
        )],
    ),
    ("json", &[("{\"b\": 1,  \"a\":2}", "'{\"b\": 1,  \"a\":2}'")]),
    ("jsonb", &[("{\"b\": 1,  \"a\":2}", "'{\"a\": 2, \"b\": 1}'")]),
    ("mood", &[("差", "'差'")]),
    ("amount", &[("7.1", "value(decimal(\"7.10\"))")]),
    ("nested", &[("8", "value(decimal(\"8.00\"))")]),
    (
        "interval",
        &[
            ("1 year 2 mons -3 days 04:05:06.789", "'P1Y2M-3DT4H5M6.789S'"),
            ("-1 day +02:03:04", "'P-1DT2H3M4S'"),
            ("0", "'PT0S'"),
            ("-1 mons 5 days -00:00:00.000001", "'P-1M5DT-0.000001S'"),
            ("178000000 years -90 min", "'P178000000YT-1H-30M'"),
        ],
    ),
    (
        "integer[]",
        &[
            ("{1,NULL,3}", "'{1,NULL,3}'"),
            ("[0:1]={7,8}", "'[0:1]={7,8}'"),
            ("{}", "'{}'"),
            ("[2:2][0:1][5:5]={{{1},{NULL}}}", "'[2:2][0:1][5:5]={{{1},{NULL}}}'"),
        ],
    ),
    ("text[]", &[("{{\"a,b\",\"\"},{NULL,\"null\"}}", "'{{\"a,b\",\"\"},{NULL,\"null\"}}'")]),
    ("numeric(6,1)[][]", &[("{{{1,2}},{{3,NaN}}}", "'{{{1.0,2.0}},{{3.0,NaN}}}'")]),
    ("mood[]", &[("{好,差}", "'{好,差}'")]),
    ("bytea[]", &[("{\"\\\\x00ff\",NULL}", "'{\"\\\\x00ff\",NULL}'")]),
    ("scores", &[("{1,NULL}", "'{1,NULL}'")]),
    ("other.mood[]", &[("{odd,NULL}", "'{odd,NULL}'")]),
    ("boolean[]", &[("{t,NULL,f}", "'{t,NULL,f}'")]),
    ("bigint[]", &[("{-9223372036854775808,0}", "'{-9223372036854775808,0}'")]),
    ("smallint[]", &[("{-1,2}", "'{-1,2}'")]),
    ("oid[]", &[("{4294967295}", "'{4294967295}'")]),
    ("char(3)[]", &[("{a,abc}", "'{\"a  \",abc}'")]),
    (
        "varchar[]",
        &[(
            "{国,\"a\\\\b\",NuLl,\"NuLl\",\"{}\",\"\u{b}\"}",
            "'{国,\"a\\\\b\",NULL,\"NuLl\",\"{}\",\"\u{b}\"}'",
        )],
    ),
    ("jsonb[]", &[("{\"{\\\"b\\\": [1]}\",1}", "'{\"{\\\"b\\\": [1]}\",1}'")]),
    ("uuid[]", &[("{00112233-4455-6677-8899-aabbccddeeff}", "'{00112233-4455-6677-8899-aabbccddeeff}'")]),
    ("numeric[]", &[("{NaN,-0.10,1e3}", "'{NaN,-0.10,1000}'")]),
];

/// Types whose text form alone is understood: one such column makes the whole stream text.
const TEXT_CASES: &[Case] = &[
    ("timestamptz[]", &[("{2026-03-01 08:00:00+08}", "'{\"2026-03-01 00:00:00+00\"}'")]),
    ("timetz", &[("08:30:00+08", "'08:30:00+08'")]),
    ("money", &[("1234.56", "'$1,234.56'")]),
    ("bit(3)", &[("101", "'101'")]),
    ("bit varying", &[("1", "'1'")]),
    ("inet", &[("192.168.1.1", "'192.168.1.1'")]),
    ("cidr", &[("10.0.0.0/8", "'10.0.0.0/8'")]),
    ("macaddr", &[("08:00:2b:01:02:03", "'08:00:2b:01:02:03'")]),
    ("point", &[("(1.5,-2)", "'(1.5,-2)'")]),
    ("int4range", &[("[1,5)", "'[1,5)'")]),
    ("tstzrange", &[("[2026-01-01 00:00:00+00,)", "'[\"2026-01-01 00:00:00+00\",)'")]),
    ("tsvector", &[("a fat cat", "'a' 'cat' 'fat'")]),
    ("xml", &[("<a/>", "'<a/>'")]),
    ("pair", &[("(1,\"a b\")", "'(1,\"a b\")'")]),
    ("date[]", &[("{infinity,-infinity,\"0044-03-15 BC\"}", "'{infinity,-infinity,\"0044-03-15 BC\"}'")]),
    ("float8[]", &[("{NaN,-Infinity,-0,0.1}", "'{NaN,-Infinity,-0,0.1}'")]),
    ("amount[]", &[("{1,NULL}", "'{1.00,NULL}'")]),
    ("int4multirange", &[("{[1,3),[5,7)}", "'{[1,3),[5,7)}'")]),
    ("daterange", &[("[2026-01-01,infinity)", "'[2026-01-01,infinity)'")]),
    ("numrange", &[("(,1.50]", "'(,1.50]'")]),
    ("macaddr8", &[("08:00:2b:01:02:03:04:05", "'08:00:2b:01:02:03:04:05'")]),
    ("circle", &[("<(1,2),3>", "'<(1,2),3>'")]),
    ("jsonpath", &[("$.a[*]", "'$.\"a\"[*]'")]),
    ("pg_lsn", &[("16/B374D848", "'16/B374D848'")]),
    ("regclass", &[("pg_class", "'pg_class'")]),
    ("other.mood", &[("odd", "'odd'")]),
    ("hstore", &[("a=>1, b=>NULL", "'\"a\"=>\"1\", \"b\"=>NULL'")]),
    ("citext", &[("AbC", "'AbC'")]),
    ("ltree", &[("Top.Science", "'Top.Science'")]),
    ("cube", &[("(1,2),(3,4)", "'(1, 2),(3, 4)'")]),
];

const TYPES: &str = "CREATE TYPE mood AS ENUM ('好', '差'); CREATE TYPE pair AS (a int, b text);
    CREATE DOMAIN amount AS numeric(8,2); CREATE DOMAIN scores AS int[];
    CREATE DOMAIN nested AS amount CHECK (VALUE > 0);
    CREATE SCHEMA other; CREATE TYPE other.mood AS ENUM ('odd');
    CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION cube;";

/// The database's own settings, which must not be seen.
const SETTINGS: &str =
    "ALTER DATABASE {} SET timezone = 'Asia/Shanghai'; ALTER DATABASE {} SET datestyle = 'German';
    ALTER DATABASE {} SET intervalstyle = 'sql_standard'; ALTER DATABASE {} SET extra_float_digits = -10;
    ALTER DATABASE {} SET bytea_output = 'escape'; ALTER DATABASE {} SET search_path = 'public';";

/// What a contract calls the type of a text: the server's own name, with the schema of what is not built in.
fn own_name(case: &Case) -> Option<String> {
    if !TEXT_CASES.iter().any(|text| text.0 == case.0) {
        return None;
    }
    Some(match case.0 {
        "timestamptz[]" => "timestamp with time zone[]".to_owned(),
        "timetz" => "time with time zone".to_owned(),
        "float8[]" => "double precision[]".to_owned(),
        own @ ("pair" | "amount[]" | "hstore" | "citext" | "ltree" | "cube") => format!("public.{own}"),
        own => own.to_owned(),
    })
}

fn check(cases: &[&Case], all: bool) {
    let columns: Vec<String> = (0..cases.len()).map(|at| format!("c{at}")).collect();
    let declared: Vec<String> =
        cases.iter().zip(&columns).map(|((kind, _), name)| format!("{name} {kind}")).collect();
    let mut names = vec!["id"];
    names.extend(columns.iter().map(String::as_str));
    let sql = format!(
        "{TYPES} CREATE TABLE t (id int PRIMARY KEY, {}); ALTER TABLE t REPLICA IDENTITY FULL;",
        declared.join(", ")
    );
    let types = [None].into_iter().chain(cases.iter().copied().map(own_name));
    let register = Register::new(&sql, vec![Table { types: types.collect(), ..table("t", &names, &["id"]) }]);
    let database = &register.server.database;
    register.application().run(&SETTINGS.replace("{}", database));
    let mut application = register.application();
    application.run("SET datestyle = 'ISO'");
    let rounds = cases.iter().map(|(_, values)| values.len()).max().unwrap();
    let mut wanted = Vec::new();
    for round in 0..rounds {
        let mut values = vec![round.to_string()];
        let mut row = vec![round.to_string()];
        for (kind, literals) in cases {
            match literals.get(round) {
                None => {
                    values.push("NULL".to_owned());
                    row.push("null".to_owned());
                }
                Some((literal, value)) => {
                    values.push(format!("'{}'::{kind}", literal.replace('\'', "''")));
                    row.push((*value).to_owned());
                }
            }
        }
        application.run(&format!("INSERT INTO t VALUES ({})", values.join(", ")));
        wanted.push(row);
    }
    application.run("DELETE FROM t WHERE id = 0");
    let mut source = register.claim().unwrap();
    let command = "SELECT query FROM pg_stat_activity WHERE backend_type = 'walsender' AND datname = current_database()";
    let command = application.value(command);
    assert!(command.contains(&format!("binary '{}'", !all)), "{command}");
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    let changes: Vec<_> = recorder.taken.iter().flat_map(|t| &t.changes).collect();
    let shown = |row: &Vec<connectors_source::conformance::Held>| -> Vec<String> {
        row.iter().map(|cell| shorter(&cell_words(cell))).collect()
    };
    for (change, wanted) in changes.iter().zip(&wanted) {
        assert_eq!(shown(change.after.as_ref().unwrap()), *wanted, "{all}");
    }
    let deleted = changes.last().unwrap();
    assert_eq!(shown(deleted.before.as_ref().unwrap()), wanted[0]);
    let mut snapshot = Snapshot::default();
    source.snapshot(&[0], &mut snapshot).unwrap();
    for ((_, row), change) in snapshot.rows.iter().zip(&changes[1..]) {
        // The very values, not their words.
        assert_eq!(Some(row), change.after.as_ref());
    }
    assert_eq!(snapshot.rows.len(), rounds - 1);
}

/// `tsvector` holds quotes of its own.
fn shorter(words: &str) -> String {
    words.strip_prefix("''a'").map_or_else(
        || words.to_owned(),
        |rest| format!("'a'{}", rest.trim_end_matches('\'').to_owned() + "'"),
    )
}

#[test]
fn every_type_is_the_same_in_snapshot_and_stream_as_binary() {
    check(&CASES.iter().collect::<Vec<_>>(), false);
}

#[test]
fn every_type_is_the_same_in_snapshot_and_stream_as_text() {
    check(&CASES.iter().chain(TEXT_CASES).collect::<Vec<_>>(), true);
}

#[test]
fn a_timestamp_that_64_bits_cannot_hold_halts() {
    let register = Register::of("CREATE TABLE t (id int PRIMARY KEY, at timestamp)", &["id", "at"], &["id"]);
    register.application().run("INSERT INTO t VALUES (1, '294276-12-31 23:59:59')");
    let mut source = register.claim().unwrap();
    let error = source.poll(std::time::Duration::from_secs(20), &mut Recorder::default()).unwrap_err();
    assert_eq!(error.code(), "CAP009");
    assert!(error.to_string().contains("column at") && !error.to_string().contains("294276"), "{error}");
}
