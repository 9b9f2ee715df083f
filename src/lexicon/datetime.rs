//! Moments as records state them: the `datetime` of the lexicon language, a strict part of RFC 3339.

use std::time::Duration;

use jiff::{SignedDuration, civil::DateTime};

/// No moment takes more text than this, at nine digits of a second and more.
const MAX_BYTES: usize = 64;

/// The time since the Unix epoch that `text` states; a moment before it is the epoch. `None` if the
/// text is no `datetime`: `T` and `Z` are capitals, seconds and the zone are stated, and `-00:00`,
/// which means that the zone is unknown, is not one.
pub(super) fn since_epoch(text: &str) -> Option<Duration> {
    let (date, time) = text.split_at_checked(10)?;
    let (time, zone) = time.strip_prefix('T')?.split_at_checked(8)?;
    let zone = match zone.strip_prefix('.') {
        None => zone,
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            fraction.get(digits..).filter(|_| digits > 0)?
        }
    };
    let well_formed = text.len() <= MAX_BYTES
        && fits(date, "0000-00-00")
        && fits(time, "00:00:00")
        && (zone == "Z" || fits(zone, "+00:00") || fits(zone, "-00:00") && zone != "-00:00");
    if !well_formed {
        return None;
    }
    // Not as a `Timestamp`: that ends a day before the last moment of the year 9999, which is how some say
    // "never". More digits than nanoseconds have are no moment more exact.
    let local: DateTime = text.get(..text.len() - zone.len())?.parse().ok()?;
    let exact = local.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0)) - offset(zone)?;
    Some(Duration::try_from(exact).unwrap_or_default())
}

/// How far ahead of UTC the clocks of the zone `zone` are, as in `Z` and `-07:00`.
fn offset(zone: &str) -> Option<SignedDuration> {
    let Some((hours, minutes)) = zone.split_once(':') else { return Some(SignedDuration::ZERO) };
    let west = hours.starts_with('-');
    let (hours, minutes): (i64, i64) = (hours.get(1..)?.parse().ok()?, minutes.parse().ok()?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ahead = SignedDuration::from_mins(hours * 60 + minutes);
    Some(if west { -ahead } else { ahead })
}

/// Whether `text` has a digit wherever `form` has a zero, and is the same everywhere else.
fn fits(text: &str, form: &str) -> bool {
    let fits = |(byte, form): (u8, u8)| if form == b'0' { byte.is_ascii_digit() } else { byte == form };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_in_every_zone() {
        let expected = Duration::from_millis(482_197_815_123);
        for text in [
            "1985-04-12T23:50:15.123Z",
            "1985-04-12T23:50:15.123+00:00",
            "1985-04-12T16:50:15.123-07:00",
            "1985-04-13T01:20:15.123+01:30",
            "1985-04-12T23:50:15.123000000Z",
        ] {
            assert_eq!(since_epoch(text), Some(expected), "{text}");
        }
        assert_eq!(since_epoch("1970-01-01T00:00:00Z"), Some(Duration::ZERO));
        assert_eq!(since_epoch("1969-12-31T23:59:59Z"), Some(Duration::ZERO));
        assert_eq!(since_epoch("1969-12-31T23:59:59-01:00"), Some(Duration::from_secs(3_599)));
        assert_eq!(since_epoch("9999-12-31T23:59:59Z"), Some(Duration::from_secs(253_402_300_799)));
    }

    #[test]
    fn what_the_lexicon_language_does_not_take_is_no_moment() {
        for text in [
            "",
            "1985-04-12",
            "1985-04-12T23:20Z",
            "1985-04-12T23:20:50",
            "1985-04-12T23:20:50.Z",
            "1985-04-12 23:20:50Z",
            "1985-04-12t23:20:50Z",
            "1985-04-12T23:20:50z",
            "1985-04-12T23:20:50-00:00",
            "1985-04-12T23:20:50+0000",
            "1985-04-12T23:20:50Z ",
            "1985-04-12T23:20:50Z[UTC]",
            "1985-13-12T23:20:50Z",
            "1985-02-30T23:20:50Z",
            "1985-04-12T25:20:50Z",
            "1985-04-12T23:20:50+24:00",
            "1985-04-12T23:20:50-01:60",
            "85-04-12T23:20:50Z",
            "+001985-04-12T23:20:50Z",
            "1985-04-12T23:20:50.123\u{e9}Z",
            "1985-04-1\u{e9}T23:20:50Z",
            &format!("1985-04-12T23:20:50.{}Z", "0".repeat(64)),
        ] {
            assert_eq!(since_epoch(text), None, "{text}");
        }
    }
}
