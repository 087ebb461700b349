//! The commands as a person meets them: each good run, each refusal with its exit code and words.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by panicking"
)]
#![allow(unreachable_pub, reason = "a module of a test is nobody's interface")]

mod transcript;

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            transcript::run(concat!(stringify!($name), ".txt"));
        })*

        #[test]
        fn every_transcript_is_run() {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
            let mut files: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect();
            files.sort();
            let mut run = vec![$(concat!(stringify!($name), ".txt")),*];
            run.sort_unstable();
            assert_eq!(files, run);
        }
    };
}

transcripts! {
    configuration connector contract contract_refusals door inspect keygen keygen_refusals log subscriber
    trust_first_version trust_next_version trust_refusals witness
}
