//! The filesystem of the log is really full: a small one of its own, mounted by the test. Mounting takes root; elsewhere
//! the disk seam of the fault switch stands for it, and the test says so.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::reckoning::refused;
use crate::running::Running;

/// A filesystem in memory over a folder, until it is dropped.
struct Small(PathBuf);

impl Small {
    /// Puts the folder's content into a filesystem of this size in its place; none when this process may not mount.
    fn over(folder: &Path, size: &str) -> Option<Small> {
        let content = folder.with_extension("content");
        std::fs::rename(folder, &content).unwrap();
        std::fs::create_dir(folder).unwrap();
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).output();
        if !mounted.is_ok_and(|done| done.status.success()) {
            std::fs::remove_dir(folder).unwrap();
            std::fs::rename(&content, folder).unwrap();
            return None;
        }
        let small = Small(folder.to_owned());
        let copied = Command::new("cp").arg("-a").arg(content.join(".")).arg(folder).status().unwrap();
        assert!(copied.success());
        Some(small)
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let ballast = format!("of={}", self.ballast().display());
        let filled = Command::new("dd").args(["if=/dev/zero", "bs=4k", &ballast]).output().unwrap();
        assert!(!filled.status.success(), "it is not full");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A process that still has a file of it open does not hold it up.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_connector_whose_log_has_no_room_left_ends_with_a_code_and_goes_on_when_there_is_room() {
    let mut running = Running::after_the_snapshot(&[]);
    let Some(small) = Small::over(&running.stage.scene.tax().join("log"), "16m") else {
        println!("this process may not mount: the disk seam stands for the full filesystem");
        running.end_connector("disk-journal-append-full:5", 3, "APP007");
        running.one_good_life();
        running.reckon();
        return;
    };
    let mut connector = running.connector();
    connector.healthy();
    running.all_arrives();
    small.fill();
    refused(connector, 3, "APP007");
    // As long as it is full, a start ends the same way.
    refused(running.connector(), 3, "APP007");
    std::fs::remove_file(small.ballast()).unwrap();
    running.one_good_life();
    running.reckon();
}
