//! Who is dead in memory that is no kernel object: there, no kernel can say.
//!
//! # Orderings
//! | tag | operation | order   | pairs | because                                                          |
//! |-----|-----------|---------|-------|------------------------------------------------------------------|
//! | D1  | kill      | Release | D2    | all that the dead wrote, before the news of the death            |
//! | D2  | is dead   | Acquire | D1    | whoever repairs must see it                                      |

use super::{AtomicU64, Ordering};

/// For each row of the attachment table the highest generation that was killed.
#[derive(Debug)]
pub(crate) struct Registry {
    /// `generation + 1`, 0 = none.
    killed: Box<[AtomicU64]>,
}

impl Registry {
    /// Rows are `0..rows`. Nobody is dead.
    pub(crate) fn new(rows: usize) -> Self {
        Self { killed: (0..rows).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Declares the tenant of `row` dead, and all before it. A row that does not exist has no tenant.
    pub(crate) fn kill(&self, row: u32, generation: u32) {
        if let Some(killed) = self.row(row) {
            killed.fetch_max(u64::from(generation) + 1, Ordering::Release); // [D1]
        }
    }

    /// Whether this tenant of `row`, or a later one, was killed.
    pub(crate) fn is_dead(&self, row: u32, generation: u32) -> bool {
        self.row(row).is_some_and(|killed| killed.load(Ordering::Acquire) > u64::from(generation)) // [D2]
    }

    /// Of use to models only, whose processes die with all their attachments.
    #[expect(clippy::unused_self, reason = "a model's registry is another one")]
    pub(crate) fn settle(&self, _row: u32, _generation: u32) {}

    fn row(&self, row: u32) -> Option<&AtomicU64> {
        self.killed.get(usize::try_from(row).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_of_one_row_and_its_past() {
        let registry = Registry::new(3);
        assert!(!registry.is_dead(1, 0));
        registry.kill(1, 0);
        assert!(registry.is_dead(1, 0) && !registry.is_dead(1, 1) && !registry.is_dead(2, 0));
        registry.kill(2, u32::MAX);
        assert!(registry.is_dead(2, 7) && registry.is_dead(2, u32::MAX));
        registry.kill(1, 5);
        registry.kill(1, 4);
        assert!(registry.is_dead(1, 5), "the dead stay dead");
        registry.kill(3, 1);
        assert!(!registry.is_dead(3, 1) && !registry.is_dead(u32::MAX, 0), "no such row");
    }
}
