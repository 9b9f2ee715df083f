//! Whether the service takes calls, and what is in the way if not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Something that must be in order before the service takes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Part {
    /// The audit log, where calls are refused while it cannot be written.
    Audit,
    /// The service was not told to stop.
    Draining,
    /// The service's key and DID document.
    Identity,
    /// Where guests run.
    Sandbox,
    /// What is kept on disk.
    Store,
}

/// Why a part is not in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The part.
    pub part: Part,
    /// What is the matter with it, for operators.
    pub why: String,
}

/// The parts that are not in order. Cheap to clone; clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<Part, String>>>);

impl Readiness {
    /// That of a service of which nothing stands yet.
    pub fn starting() -> Readiness {
        let readiness = Readiness::default();
        readiness.lacks(Part::Identity, "the service's key is not loaded yet");
        readiness.lacks(Part::Sandbox, "it is not sealed and tried yet");
        readiness.lacks(Part::Store, "it is not open yet");
        readiness
    }

    /// A part is not in order, from now on.
    pub fn lacks(&self, part: Part, why: impl Into<String>) {
        self.parts().insert(part, why.into());
    }

    /// A part is in order again.
    pub fn has(&self, part: Part) {
        self.parts().remove(&part);
    }

    /// What is in the way; nothing if the service takes calls.
    pub fn reasons(&self) -> Vec<Reason> {
        self.parts().iter().map(|(part, why)| Reason { part: *part, why: why.clone() }).collect()
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<Part, String>> {
        // The map is whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
