//! The receiving end: frames become values again, and each value is compared with the one that went in.

use anyhow::{anyhow, ensure};
use bridge_envelope::{Expected, Opener, Verified, verify_batch};
use bridge_event::{Cell, Operation, Rows};
use std::hint::black_box;

use crate::row::commit_of;
use crate::sending::head_of;
use crate::{CpuClock, ROWS_PER_TRANSACTION, Row, Scene, Spent};

/// What came out of the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Rows that are the ones that went in, in order, each once.
    pub rows: u64,
    /// Rows that are not.
    pub changed: u64,
}

/// Verifies, opens and reads.
#[derive(Debug)]
pub struct Receiving<'a> {
    scene: &'a Scene,
    expected: Expected,
    opener: Opener,
    receipt: Receipt,
    spent: Spent,
}

impl<'a> Receiving<'a> {
    /// A reader of the scene's stream, from its beginning on.
    ///
    /// # Errors
    /// zstd gives no context.
    pub fn new(scene: &'a Scene) -> anyhow::Result<Receiving<'a>> {
        Ok(Receiving {
            scene,
            expected: scene.expected(),
            opener: Opener::new()?,
            receipt: Receipt::default(),
            spent: Spent::default(),
        })
    }

    /// What verify, open and read took so far.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// What came out so far.
    pub fn receipt(&self) -> Receipt {
        self.receipt
    }

    /// Takes one frame through all stages, then compares its rows; the comparison is not timed.
    ///
    /// # Errors
    /// A stage refuses the frame.
    pub fn receive(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        let clock = CpuClock::start();
        let verified = self.verify(frame)?;
        self.spent.verify += clock.spent();
        let clock = CpuClock::start();
        let sections = self.open(&verified)?;
        self.spent.open += clock.spent();
        let clock = CpuClock::start();
        self.read(&sections)?;
        self.spent.read += clock.spent();
        self.compare(&sections)
    }

    /// The frame, verified.
    ///
    /// # Errors
    /// The findings.
    pub fn verify(&self, frame: &[u8]) -> anyhow::Result<Verified> {
        verify_batch(frame, self.scene, &self.expected).into_verified().map_err(|f| anyhow!("{f:?}"))
    }

    /// All sections of a verified batch.
    ///
    /// # Errors
    /// A section does not open.
    pub fn open(&mut self, batch: &Verified) -> anyhow::Result<Vec<Rows>> {
        let ends = self.scene.keys.iter().zip(&self.scene.readers).enumerate();
        ends.map(|(i, (key, reader))| Ok(self.opener.open(batch, i, &key.secret, reader)?.into_rows()))
            .collect()
    }

    /// Reads every row of every section into values.
    ///
    /// # Errors
    /// A row is not one of its section.
    pub fn read(&self, sections: &[Rows]) -> anyhow::Result<()> {
        for (reader, rows) in self.scene.readers.iter().zip(sections) {
            for row in rows.iter() {
                black_box(reader.read(&row)?);
            }
        }
        Ok(())
    }

    /// Compares the rows with those that went in: number by number, column by column.
    fn compare(&mut self, sections: &[Rows]) -> anyhow::Result<()> {
        let [person, payment] = sections else { return Err(anyhow!("there are not two sections")) };
        ensure!(person.rows() == payment.rows(), "the sections have not the same number of rows");
        for (person, payment) in person.iter().zip(payment.iter()) {
            let number = self.receipt.rows + self.receipt.changed + 1;
            let row = Row::of(number);
            let [id, cells @ ..] = row.cells();
            let parts = [(person, cells.get(..3)), (payment, cells.get(3..))];
            let mut same = true;
            for ((part, wanted), reader) in parts.into_iter().zip(&self.scene.readers) {
                let read = reader.read(&part)?;
                let ordinal = (number - 1) % ROWS_PER_TRANSACTION + 1;
                same &= read.operation() == Operation::Insert
                    && *read.head() == head_of(number, commit_of(number), ordinal)
                    && read.keys().iter().copied().map(Cell::Value).eq([id])
                    && read.before().is_none()
                    && read.after() == wanted;
            }
            if same {
                self.receipt.rows += 1;
            } else {
                self.receipt.changed += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sending;

    /// Sends and receives `numbers`; both ends count rows from 1.
    fn receipt_of(numbers: &[u64]) -> Receipt {
        let scene = Scene::new().unwrap();
        let rows: Vec<Row> = numbers.iter().map(|number| Row::of(*number)).collect();
        let mut frames = Vec::new();
        let mut sending = Sending::new(&scene).unwrap();
        sending.send(&rows, &mut |sealed| frames.push(sealed)).unwrap();
        sending.finish(&mut |sealed| frames.push(sealed)).unwrap();
        let mut receiving = Receiving::new(&scene).unwrap();
        for sealed in &frames {
            receiving.receive(sealed.frame()).unwrap();
        }
        receiving.receipt()
    }

    #[test]
    fn every_row_comes_out_as_it_went_in() {
        let numbers: Vec<u64> = (1..=5500).collect();
        assert_eq!(receipt_of(&numbers), Receipt { rows: 5500, changed: 0 });
    }

    #[test]
    fn a_lost_row_is_seen() {
        assert_eq!(receipt_of(&[1, 2, 4]), Receipt { rows: 2, changed: 1 });
    }
}
