//! A token bucket in one number: the generic cell rate algorithm (ITU-T I.371), in which a key is the
//! moment at which its bucket is full again.
//!
//! All times are nanoseconds since some beginning.

/// A rate and a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    /// From one token to the next.
    pub(super) interval: u64,
    /// How many there are when it is full.
    pub(super) burst: u32,
}

/// What taking a token came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was there; this is when the bucket is full again.
    Yes {
        /// The moment.
        full_at: u64,
    },
    /// It was not; this is how long until there is one.
    No {
        /// The time.
        wait: u64,
    },
}

impl Bucket {
    /// From an empty bucket to a full one.
    pub(super) fn window(self) -> u64 {
        self.interval.saturating_mul(self.burst.into())
    }

    /// Takes a token from a bucket that is full at `full_at`.
    pub(super) fn take(self, full_at: u64, now: u64) -> Taken {
        let next = full_at.max(now).saturating_add(self.interval);
        match next.saturating_sub(now).saturating_sub(self.window()) {
            0 => Taken::Yes { full_at: next },
            wait => Taken::No { wait },
        }
    }

    /// Puts a token back that was taken: then the bucket is full one interval sooner.
    pub(super) fn put_back(self, full_at: u64) -> u64 {
        full_at.saturating_sub(self.interval)
    }

    /// How many tokens are in it.
    pub(super) fn left(self, full_at: u64, now: u64) -> u32 {
        let room = self.window().saturating_sub(full_at.saturating_sub(now));
        u32::try_from(room / self.interval.max(1)).unwrap_or(u32::MAX).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A bucket as it is told to children: tokens that drip into it.
    struct Dripping {
        bucket: Bucket,
        /// In parts of a token: `interval` of them are one.
        parts: u64,
        at: u64,
    }

    impl Dripping {
        fn full(bucket: Bucket) -> Dripping {
            Dripping { bucket, parts: bucket.window(), at: 0 }
        }

        fn take(&mut self, now: u64) -> bool {
            self.parts = (self.parts + (now - self.at)).min(self.bucket.window());
            self.at = now;
            let there = self.parts >= self.bucket.interval;
            self.parts -= if there { self.bucket.interval } else { 0 };
            there
        }

        fn left(&self) -> u32 {
            (self.parts / self.bucket.interval) as u32
        }
    }

    #[test]
    fn a_burst_is_there_at_once_and_then_one_an_interval() {
        let bucket = Bucket { interval: 100, burst: 3 };
        let mut full_at = 0;
        for left in [2, 1, 0] {
            let Taken::Yes { full_at: next } = bucket.take(full_at, 1_000) else { panic!("no token") };
            full_at = next;
            assert_eq!(bucket.left(full_at, 1_000), left);
        }
        assert_eq!(bucket.take(full_at, 1_000), Taken::No { wait: 100 });
        assert_eq!(bucket.take(full_at, 1_099), Taken::No { wait: 1 });
        assert_eq!(bucket.take(full_at, 1_100), Taken::Yes { full_at: 1_400 });
        // However long it was left alone, it holds no more than the burst.
        assert_eq!(bucket.left(full_at, u64::MAX), 3);
    }

    #[test]
    fn the_largest_numbers_do_not_wrap() {
        let bucket = Bucket { interval: u64::MAX, burst: u32::MAX };
        assert_eq!(bucket.take(u64::MAX, u64::MAX), Taken::Yes { full_at: u64::MAX });
        assert_eq!(bucket.left(u64::MAX, 0), 0);
    }

    proptest! {
        #[test]
        fn it_gives_what_a_dripping_bucket_gives(
            interval in 1_u64..1_000,
            burst in 1_u32..20,
            pauses in prop::collection::vec(0_u64..2_000, 1..200),
        ) {
            let bucket = Bucket { interval, burst };
            let (mut dripping, mut full_at, mut now) = (Dripping::full(bucket), 0, 0);
            for pause in pauses {
                now += pause;
                let there = dripping.take(now);
                match bucket.take(full_at, now) {
                    Taken::Yes { full_at: next } => {
                        prop_assert!(there);
                        full_at = next;
                    }
                    Taken::No { wait } => {
                        prop_assert!(!there);
                        // Neither sooner nor later than it says.
                        prop_assert_eq!(bucket.take(full_at, now + wait - 1), Taken::No { wait: 1 });
                        let is_there = matches!(bucket.take(full_at, now + wait), Taken::Yes { .. });
                        prop_assert!(is_there);
                    }
                }
                prop_assert_eq!(bucket.left(full_at, now), dripping.left());
            }
        }

        #[test]
        fn a_token_that_is_put_back_was_never_taken(
            interval in 1_u64..1_000, burst in 1_u32..20, owed in 0_u64..10_000, now in 0_u64..10_000,
        ) {
            let bucket = Bucket { interval, burst };
            if let Taken::Yes { full_at } = bucket.take(owed, now) {
                prop_assert_eq!(bucket.put_back(full_at), owed.max(now));
            }
        }
    }
}
