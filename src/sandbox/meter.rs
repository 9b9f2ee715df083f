//! How much memory a guest has: all its memories and tables together, from before it exists.

use wasmtime::ResourceLimiter;

/// What one table element takes in this engine: a pointer.
pub(super) const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

/// How many core instances, memories and tables a guest may be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) instances: u32,
    pub(super) memories: u32,
    pub(super) tables: u32,
}

impl Parts {
    /// A core module is one instance.
    pub(super) const CORE: Parts = Parts { instances: 1, memories: 1, tables: 1 };
    /// A component out of a toolchain is four instances, which share a memory and two tables: the
    /// program, its adapter of preview 1, and two that tie them together. One that is composed of others
    /// has as much for each.
    pub(super) const COMPONENT: Parts = Parts { instances: 16, memories: 4, tables: 8 };
}

/// Counts and bounds what one guest allocates.
#[derive(Debug)]
pub(super) struct Meter {
    limit: usize,
    used: usize,
    refused: bool,
    parts: Parts,
}

impl Meter {
    pub(super) fn new(limit_bytes: u64, parts: Parts) -> Meter {
        // More than the address space holds is as good as all of it.
        let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        Meter { limit, used: 0, refused: false, parts }
    }

    /// The most that was in use at once. Wasm has no way to give memory back, so it is what is in use
    /// at the end.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.used as u64
    }

    /// Whether the guest was ever refused memory. What it does then is up to it; most trap.
    pub(super) fn refused(&self) -> bool {
        self.refused
    }

    fn grow(&mut self, bytes: usize, fits_its_own_maximum: bool) -> bool {
        let used = self.used.checked_add(bytes).filter(|used| *used <= self.limit);
        match used {
            Some(used) if fits_its_own_maximum => {
                self.used = used;
                true
            }
            _ => {
                self.refused = true;
                false
            }
        }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current), maximum.is_none_or(|max| desired <= max)))
    }

    // A growth that fails after it was allowed stays counted. Taking it back would need to know
    // which one failed: this is also called for growths that were never asked about.
    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT_BYTES);
        Ok(self.grow(bytes, maximum.is_none_or(|max| desired <= max)))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    // Admission held the guest to these; the engine asks once, when the store is made.
    fn instances(&self) -> usize {
        self.parts.instances as usize
    }

    fn memories(&self) -> usize {
        self.parts.memories as usize
    }

    fn tables(&self) -> usize {
        self.parts.tables as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 65_536;

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut meter = Meter::new(2 * PAGE as u64, Parts::CORE);
        assert!(meter.memory_growing(0, PAGE, None).unwrap());
        assert!(meter.table_growing(0, PAGE / TABLE_ELEMENT_BYTES, None).unwrap());
        assert!(!meter.refused());
        assert!(
            !meter.table_growing(PAGE / TABLE_ELEMENT_BYTES, PAGE / TABLE_ELEMENT_BYTES + 1, None).unwrap()
        );
        assert!(!meter.memory_growing(PAGE, 2 * PAGE, None).unwrap());
        assert!(meter.refused());
        assert_eq!(meter.peak_bytes(), 2 * PAGE as u64);
    }

    #[test]
    fn a_growth_that_was_never_asked_about_does_not_lower_the_count() {
        let mut meter = Meter::new(2 * PAGE as u64, Parts::CORE);
        assert!(meter.memory_growing(0, 2 * PAGE, None).unwrap());
        meter.memory_grow_failed(wasmtime::Error::msg("beyond the type")).unwrap();
        meter.table_grow_failed(wasmtime::Error::msg("overflow")).unwrap();
        assert!(meter.refused());
        assert_eq!(meter.peak_bytes(), 2 * PAGE as u64);
        assert!(!meter.memory_growing(2 * PAGE, 3 * PAGE, None).unwrap());
    }

    #[test]
    fn growth_beyond_the_modules_own_maximum_is_refused_and_not_counted() {
        let mut meter = Meter::new(4 * PAGE as u64, Parts::CORE);
        assert!(!meter.memory_growing(0, 2 * PAGE, Some(PAGE)).unwrap());
        assert!(meter.refused());
        assert_eq!(meter.peak_bytes(), 0);
    }

    #[test]
    fn absurd_sizes_do_not_wrap_around() {
        let mut meter = Meter::new(u64::MAX, Parts::CORE);
        assert!(meter.memory_growing(0, PAGE, None).unwrap());
        assert!(!meter.table_growing(0, usize::MAX, None).unwrap());
        assert_eq!(meter.peak_bytes(), PAGE as u64);
    }
}
