//! The fault switch of release builds: there is none (docs/decisions/0005-fault-switch.md).

use bridge_ledger::Disk;

/// What is remembered of the trust file.
pub(crate) const TRUST_STATE: &str = "trust-state";

/// No faults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults;

impl Faults {
    /// Reads nothing.
    pub(crate) fn of_environment() -> anyhow::Result<Faults> {
        Ok(Faults)
    }

    /// The disk as it is.
    pub(crate) fn disk(&self) -> Disk {
        Disk::real()
    }

    /// Writes.
    pub(crate) fn write(&self, _act: &str, write: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        write()
    }

    /// The same for sink and progress.
    pub(crate) fn receiving_disk(&self) -> bridge_subscriber::Disk {
        bridge_subscriber::Disk::real()
    }
}

impl bridge_pipeline::Probe for Faults {
    fn at(&self, _point: bridge_pipeline::Point) {}
}

impl bridge_subscriber::Probe for Faults {
    fn reach(&self, _point: bridge_subscriber::Point) -> Result<(), bridge_subscriber::Interrupted> {
        Ok(())
    }
}
