//! The time of day, handed in rather than taken, so that expiry can be tested without sleeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A source of wall-clock time. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    /// Milliseconds since the Unix epoch.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Clock {
        Clock(Source::System)
    }

    /// A clock that stands still at `unix_seconds` until [`Clock::advance`] moves it.
    pub fn manual(unix_seconds: u64) -> Clock {
        Clock(Source::Manual(Arc::new(AtomicU64::new(unix_seconds * 1000))))
    }

    /// The time since the Unix epoch.
    pub fn since_epoch(&self) -> Duration {
        match &self.0 {
            // The one place that may ask the machine. A machine whose clock stands before 1970 is treated as standing at 1970.
            #[allow(clippy::disallowed_methods)]
            Source::System => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Source::Manual(millis) => Duration::from_millis(millis.load(Ordering::Relaxed)),
        }
    }

    /// Whole seconds since the Unix epoch, as JWT claims count them (RFC 7519 `NumericDate`).
    pub fn unix_seconds(&self) -> u64 {
        self.since_epoch().as_secs()
    }

    /// Moves a manual clock on; does nothing to the machine's.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(millis) = &self.0 {
            millis.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
        }
    }
}
