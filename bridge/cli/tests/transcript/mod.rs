//! Transcripts: what a person types and what the terminal answers, as text files that are run.
//!
//! ```text
//! # words
//! $ govbridge keygen --role tax        a command; words may stand in 'quotes', $NAME is a captured line
//! $ KEY=govbridge keygen ...           keeps the first line of stdout as $KEY
//! tax/signing+[..]                     a line of stdout; [..] is any text, ... alone any lines
//! ! tax.key holds [..]                 a line of stderr
//! ? 2                                  the exit code; without it 0
//! ```
//!
//! Further commands: `save FILE govbridge ...` (its stdout), `database FILE SQL`, `write FILE TEXT`, `edit FILE FROM TO`, `copy FROM TO`, `folder NAME`, `mode FILE MODE`, `show-mode FILE`, `show FILE`, `env NAME VALUE`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Step {
    line: usize,
    command: String,
    stdout: Vec<String>,
    stderr: Vec<String>,
    exit: i32,
}

#[derive(Default)]
struct Answer {
    stdout: String,
    stderr: String,
    exit: i32,
}

/// Runs one transcript in a folder of its own.
pub fn run(name: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("tests/transcripts").join(name)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut shell =
        Shell { folder: folder.path().to_path_buf(), kept: BTreeMap::new(), env: BTreeMap::new() };
    shell.kept.insert("REPOSITORY".to_owned(), root.join("../..").display().to_string());
    let sample = fs::read_to_string(root.join("../../schemas/tax/sample.sql")).unwrap();
    shell.kept.insert("PAYMENTS".to_owned(), sample);
    let steps = parse(&text);
    assert!(!steps.is_empty(), "{name} has no commands");
    for step in steps {
        let answer = shell.run(&step.command);
        let place = format!("{name}:{}: {}", step.line, step.command);
        let said = format!("\n--- stdout\n{}--- stderr\n{}", answer.stdout, answer.stderr);
        assert_eq!(answer.exit, step.exit, "{place}: exit code{said}");
        shell.compare(&format!("{place}: stdout{said}"), &step.stdout, &answer.stdout);
        shell.compare(&format!("{place}: stderr{said}"), &step.stderr, &answer.stderr);
    }
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(command) = line.strip_prefix("$ ") {
            let (stdout, stderr) = (Vec::new(), Vec::new());
            steps.push(Step { line: number + 1, command: command.to_owned(), stdout, stderr, exit: 0 });
            continue;
        }
        let Some(step) = steps.last_mut() else {
            assert!(line.is_empty() || line.starts_with('#'), "line {}: no command yet", number + 1);
            continue;
        };
        match line.split_once(' ').unwrap_or((line, "")) {
            ("!", words) => step.stderr.push(words.to_owned()),
            ("?", code) => step.exit = code.parse().unwrap(),
            ("#", _) | ("", "") => {}
            _ => step.stdout.push(line.to_owned()),
        }
    }
    steps
}

struct Shell {
    folder: PathBuf,
    kept: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
}

impl Shell {
    fn run(&mut self, command: &str) -> Answer {
        let (keep, command) = match command.split_once("=govbridge ") {
            Some((name, rest)) if !name.contains(' ') => (Some(name.to_owned()), format!("govbridge {rest}")),
            _ => (None, command.to_owned()),
        };
        let words: Vec<String> = split(&command).iter().map(|word| self.fill(word)).collect();
        let (program, words) = words.split_first().unwrap();
        let mut answer = match program.as_str() {
            "govbridge" => self.govbridge(words),
            "save" => {
                let [file, _, words @ ..] = words else { panic!("save FILE govbridge ...") };
                let mut answer = self.govbridge(words);
                put(&self.folder.join(file), &std::mem::take(&mut answer.stdout));
                answer
            }
            _ => self.tool(program, words),
        };
        if let Some(name) = keep {
            self.kept.insert(name, answer.stdout.lines().next().unwrap_or_default().to_owned());
            answer.stdout.clear();
        }
        answer
    }

    fn govbridge(&self, words: &[String]) -> Answer {
        let done = Command::new(env!("CARGO_BIN_EXE_govbridge"))
            .args(words)
            .current_dir(&self.folder)
            .env_clear()
            .envs(&self.env)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Answer {
            stdout: String::from_utf8(done.stdout).unwrap(),
            stderr: String::from_utf8(done.stderr).unwrap(),
            exit: done.status.code().expect("ended by a signal"),
        }
    }

    fn tool(&mut self, program: &str, words: &[String]) -> Answer {
        let path = |name: &String| self.folder.join(name);
        let mut stdout = String::new();
        match (program, words) {
            ("write", [file, text]) => put(&path(file), &format!("{text}\n")),
            ("edit", [file, from, to]) => {
                let text = fs::read_to_string(path(file)).unwrap();
                assert!(text.contains(from.as_str()), "{file} does not hold {from:?}");
                put(&path(file), &text.replacen(from.as_str(), to, 1));
            }
            ("copy", [from, to]) => drop(fs::copy(path(from), path(to)).unwrap()),
            ("mode", [file, mode]) => {
                let mode = u32::from_str_radix(mode, 8).unwrap();
                fs::set_permissions(path(file), fs::Permissions::from_mode(mode)).unwrap();
            }
            ("database", [file, sql]) => {
                rusqlite::Connection::open(path(file)).unwrap().execute_batch(sql).unwrap();
            }
            ("folder", [folder]) => fs::create_dir(path(folder)).unwrap(),
            ("show-mode", [file]) => {
                stdout = format!("{:o}\n", fs::metadata(path(file)).unwrap().permissions().mode() & 0o7777);
            }
            ("show", [file]) => stdout = fs::read_to_string(path(file)).unwrap(),
            ("env", [name, value]) => drop(self.env.insert(name.clone(), value.clone())),
            _ => panic!("no such command: {program} {words:?}"),
        }
        Answer { stdout, ..Answer::default() }
    }

    fn fill(&self, word: &str) -> String {
        let mut filled = word.to_owned();
        for (name, value) in self.kept.iter().rev() {
            filled = filled.replace(&format!("${name}"), value);
        }
        filled
    }

    fn compare(&self, place: &str, expected: &[String], found: &str) {
        let expected: Vec<String> = expected.iter().map(|line| self.fill(line)).collect();
        let found: Vec<&str> = found.lines().filter(|line| !line.is_empty()).collect();
        assert!(lines_match(&expected, &found), "{place}\n--- expected\n{}\n", expected.join("\n"));
    }
}

fn put(path: &Path, text: &str) {
    fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn split(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in command.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    assert!(!quoted, "an open quote in {command}");
    words.extend(word);
    words
}

fn lines_match(expected: &[String], found: &[&str]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=found.len()).any(|skip| lines_match(rest, &found[skip..]))
        }
        Some((first, rest)) => found
            .split_first()
            .is_some_and(|(line, others)| line_matches(first, line) && lines_match(rest, others)),
    }
}

fn line_matches(expected: &str, found: &str) -> bool {
    match expected.split_once("[..]") {
        None => expected == found,
        Some((before, after)) => found.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| line_matches(after, &rest[at..]))
        }),
    }
}
