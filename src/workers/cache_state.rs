//! Where the compiled code of a call was.

/// Where an artifact came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// It had to be compiled, or was being.
    Cold,
    /// It was on disk.
    Disk,
    /// It was there.
    Warm,
}

impl CacheState {
    /// All there are.
    pub const ALL: [CacheState; 3] = [CacheState::Cold, CacheState::Disk, CacheState::Warm];

    /// The name in answers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            CacheState::Cold => "cold",
            CacheState::Disk => "disk",
            CacheState::Warm => "warm",
        }
    }
}
