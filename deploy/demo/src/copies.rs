//! Copies of the topics and logs: the tamperer never touches what the real processes used.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bridge_event::{Offset, Partition};
use bridge_kafka::{Fetcher, Properties, PublishError, Publisher, Reading};

use crate::ground::{Ground, Transport};

/// The topic of the key records of all departments.
pub(crate) const KEYS: &str = bridge_kafka::topics::KEYS;

/// The topic of the contract records of all departments.
pub(crate) const CONTRACTS: &str = bridge_kafka::topics::CONTRACTS;

/// Every topic has one partition here.
const ONLY: Partition = Partition(0);

/// How long reading or writing all topics may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one partition of the trial cluster keeps, in bytes of records; their framing counts too.
pub(crate) const PARTITION_BYTES_MAX: usize = 5 * 1024 * 1024;

/// All frames of all topics, in their order: the frame at index n has the offset n.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topics(BTreeMap<String, Vec<Vec<u8>>>);

impl Topics {
    #[cfg(test)]
    pub(crate) fn of<'a>(topics: impl IntoIterator<Item = (&'a str, Vec<Vec<u8>>)>) -> Topics {
        Topics(topics.into_iter().map(|(name, frames)| (name.to_owned(), frames)).collect())
    }

    /// The frames of one topic.
    pub(crate) fn frames(&mut self, topic: &str) -> anyhow::Result<&mut Vec<Vec<u8>>> {
        self.0.get_mut(topic).with_context(|| format!("there is no copy of {topic}"))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Vec<Vec<u8>>)> {
        self.0.iter()
    }

    /// All frames and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.0.values().flatten().fold((0, 0), |(frames, bytes), frame| (frames + 1, bytes + frame.len()))
    }

    /// Reads everything that a cluster holds of these topics.
    ///
    /// # Errors
    /// Also when a topic does not begin at offset 0 any more: the cluster has dropped its head.
    pub(crate) fn dump(bootstrap: &str, names: &[String]) -> anyhow::Result<Topics> {
        let mut fetcher = Fetcher::new(&Properties::of_brokers(bootstrap)?)?;
        let mut topics: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        let mut ends = BTreeMap::new();
        for name in names {
            let bounds = fetcher.bounds(name, ONLY, PATIENCE)?;
            ensure!(
                bounds.low == Offset(0),
                "the trial cluster keeps 5 MiB of a topic, and {name} outgrew that: run a shorter demo"
            );
            ends.insert(name.clone(), usize::try_from(bounds.high.0)?);
            topics.insert(name.clone(), Vec::new());
        }
        let reading =
            |name: &String| Reading { topic: name.as_str().into(), partition: ONLY, offset: Offset(0) };
        fetcher.assign(names.iter().map(reading).collect())?;
        let deadline = Instant::now() + PATIENCE;
        while topics.iter().any(|(name, frames)| Some(&frames.len()) < ends.get(name)) {
            ensure!(Instant::now() < deadline, "the cluster did not hand out all of its records");
            let Some(fetched) = fetcher.next(Duration::from_millis(100))? else { continue };
            let Some(frames) = topics.get_mut(&*fetched.topic) else { continue };
            ensure!(
                usize::try_from(fetched.offset.0)? == frames.len(),
                "the offsets of {} are not dense, so that a copy would have others",
                fetched.topic
            );
            frames.push(fetched.bytes);
        }
        Ok(Topics(topics))
    }

    /// A transport that holds these frames and no others, each at the offset of its index.
    pub(crate) fn serve(&self, ground: &Ground) -> anyhow::Result<Transport> {
        let names: Vec<String> = self.0.keys().cloned().collect();
        let transport = Transport::for_copy(ground, &names)?;
        let mut publisher = Publisher::new(&Properties::of_brokers(transport.bootstrap())?)?;
        let deadline = Instant::now() + PATIENCE;
        let mut failed = None;
        for (name, frames) in &self.0 {
            for frame in frames {
                loop {
                    match publisher.publish(name, ONLY, "copy", frame, 0) {
                        Ok(()) => break,
                        Err(PublishError::QueueFull) if Instant::now() < deadline => {
                            drain(&mut publisher, &mut failed);
                        }
                        Err(error) => return Err(error).context("a copy of a topic could not be filled"),
                    }
                }
            }
        }
        while publisher.in_flight() > 0 {
            ensure!(Instant::now() < deadline, "the cluster of a copy did not take all records");
            drain(&mut publisher, &mut failed);
        }
        match failed {
            Some(error) => bail!("a copy of a topic could not be filled: {error}"),
            None => Ok(transport),
        }
    }
}

fn drain(publisher: &mut Publisher, failed: &mut Option<String>) {
    publisher.poll(Duration::from_millis(50), &mut |delivery| {
        if let Err(error) = delivery.result {
            failed.get_or_insert_with(|| error.to_string());
        }
    });
}

/// Copies a folder and everything in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Writes a file of the stage anew. Nothing on the stage has to survive a power cut.
pub(crate) fn write(file: &Path, content: &str) -> anyhow::Result<()> {
    let mut target = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    target.write_all(content.as_bytes()).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_holds_the_same_frames_at_the_same_offsets() {
        let frames = |seed: u8, count: usize| (0..count).map(|i| vec![seed; 100 + i]).collect::<Vec<_>>();
        let topics = Topics::of([("a", frames(1, 300)), ("b", frames(2, 1)), ("c", Vec::new())]);
        let names: Vec<String> = topics.iter().map(|(name, _)| name.clone()).collect();
        let transport = topics.serve(&Ground::Trial).unwrap();
        assert_eq!(Topics::dump(transport.bootstrap(), &names).unwrap(), topics);
        assert_eq!(topics.size().0, 301);
    }

    #[test]
    fn a_folder_is_copied_with_its_folders() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("tile/0")).unwrap();
        write(&from.join("tile/0/000"), "x").unwrap();
        write(&from.join("checkpoint"), "note").unwrap();
        copy_folder(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("tile/0/000")).unwrap(), "x");
        assert_eq!(fs::read_to_string(to.join("checkpoint")).unwrap(), "note");
    }
}
