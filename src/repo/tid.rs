//! TIDs: the timestamps that name revisions.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Base32 whose characters sort as their values do.
const ALPHABET: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";

/// Bits of the clock id, below the time.
const CLOCK_BITS: u32 = 10;

/// A timestamp identifier: microseconds since 1970, and 10 bits of a clock's id. Whoever makes one
/// chooses the time it says. Orders by value, which is also the order of the texts.
///
/// Source: <https://atproto.com/specs/tid>.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(u64);

impl Tid {
    /// Parses the 13 characters of a TID.
    pub fn parse(text: &str) -> Result<Tid, InvalidTid> {
        if text.len() != 13 {
            return Err(InvalidTid);
        }
        let mut value: u64 = 0;
        for (index, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|&c| c == byte).ok_or(InvalidTid)? as u64;
            // 13 characters hold 65 bits, one too many.
            if index == 0 && digit >= 16 {
                return Err(InvalidTid);
            }
            value = (value << 5) | digit;
        }
        Ok(Tid(value))
    }

    /// The TID of a time in microseconds since 1970 and a clock's id; of both, the bits that fit.
    pub fn from_micros(micros: u64, clock_id: u16) -> Tid {
        let micros = micros & ((1 << 53) - 1);
        let clock_id = u64::from(clock_id) & ((1 << CLOCK_BITS) - 1);
        Tid((micros << CLOCK_BITS) | clock_id)
    }

    /// The TID with this 64-bit value.
    pub fn from_value(value: u64) -> Tid {
        Tid(value)
    }

    /// Its 64-bit value.
    pub fn value(self) -> u64 {
        self.0
    }

    /// The time it says, since the Unix epoch.
    pub fn since_epoch(self) -> Duration {
        Duration::from_micros(self.micros())
    }

    /// The time it says, in microseconds since 1970.
    pub fn micros(self) -> u64 {
        self.0 >> CLOCK_BITS
    }

    /// The next greater TID; the greatest is its own.
    pub fn next(self) -> Tid {
        Tid(self.0.saturating_add(1))
    }
}

impl FromStr for Tid {
    type Err = InvalidTid;

    fn from_str(text: &str) -> Result<Tid, InvalidTid> {
        Tid::parse(text)
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shift in (0..13).rev() {
            let digit = (self.0 >> (5 * shift)) & 31;
            fmt::Write::write_char(f, char::from(ALPHABET[digit as usize]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a TID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a TID has 13 characters of 2-7 and a-z, the first up to j")]
pub struct InvalidTid;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tid_reads_back_as_it_was_written() {
        for text in ["2222222222222", "3jzfcijpj2z2a", "jzzzzzzzzzzzz", "7777777777777", "3zzzzzzzzzzzz"] {
            assert_eq!(Tid::parse(text).unwrap().to_string(), text);
        }
        let tid = Tid::from_micros(1_700_000_000_000_000, 5);
        assert_eq!((tid.micros(), tid.value() & 1023), (1_700_000_000_000_000, 5));
        assert_eq!(tid.since_epoch(), Duration::from_secs(1_700_000_000));
        assert_eq!(Tid::parse(&tid.to_string()), Ok(tid));
    }

    #[test]
    fn texts_that_are_no_tids_are_refused() {
        let cases = [
            "",
            "3jzfcijpj2z21",
            "0000000000000",
            "3jzfcijpj2z2aa",
            "3jzfcijpj2z2",
            "3JZFCIJPJ2Z2A",
            "3jzf-cij-pj2z-2a",
            "kjzfcijpj2z2a",
            "zzzzzzzzzzzzz",
            "3jzfcijpj2z2é",
            " 3jzfcijpj2z2",
        ];
        for text in cases {
            assert_eq!(Tid::parse(text), Err(InvalidTid), "{text}");
        }
    }

    #[test]
    fn the_greatest_tid_has_no_next() {
        let greatest = Tid::parse("jzzzzzzzzzzzz").unwrap();
        assert_eq!(greatest.next(), greatest);
        assert_eq!(greatest.value(), u64::MAX);
    }

    proptest! {
        #[test]
        fn texts_order_as_values_do(a: u64, b: u64) {
            let (a, b) = (Tid::from_value(a), Tid::from_value(b));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(Tid::parse(&a.to_string()), Ok(a));
        }
    }
}
