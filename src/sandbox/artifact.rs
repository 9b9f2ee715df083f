//! Compiled functions, as their callers hold them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// A compiled function, ready to run in the sandbox that compiled it. Cheap to clone.
#[derive(Clone)]
pub struct Artifact {
    compiled: Arc<dyn Any + Send + Sync>,
    bytes: usize,
}

impl Artifact {
    /// Wraps what a sandbox compiled. `bytes` is the memory it takes, for caches to weigh.
    pub fn new(compiled: Arc<dyn Any + Send + Sync>, bytes: usize) -> Artifact {
        Artifact { compiled, bytes }
    }

    /// The memory that the artifact takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the sandbox compiled, if it is of this sandbox's type.
    pub(crate) fn compiled<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        Arc::clone(&self.compiled).downcast().ok()
    }
}

impl fmt::Debug for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artifact").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
