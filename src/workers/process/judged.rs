//! A worker's word as a function of bytes, for fuzzing: what `link` makes of a packet about a run that
//! has just begun.

use super::answer::{self, Asked};
use super::message::{FromWorker, MAX_FROM_PROCESS, message};
use super::socket::Incoming;
use crate::sandbox::{Completion, HostCall, Limits};

/// What the service goes by.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It is alive, which counts only where it was asked.
    Alive,
    /// The run ended so.
    Ended(Completion),
    /// The run was lost, for this reason.
    Lost(String),
    /// Its guest asks for this.
    Called(HostCall),
}

/// Judges a packet, without files, about a run with an input of two bytes; `None` where the service ends the worker.
#[doc(hidden)]
pub fn judge_worker(packet: &[u8], limits: Limits) -> Option<Word> {
    let incoming = Incoming::unpack(packet, Vec::new(), MAX_FROM_PROCESS).ok()?;
    let mut asked = Asked::new(limits, 2);
    match message(&incoming).ok()? {
        FromWorker::Alive => Some(Word::Alive),
        FromWorker::Ended { ending: Ok(completion), .. } => {
            answer::checked(completion, &asked).ok().map(Word::Ended)
        }
        FromWorker::Ended { ending: Err(reason), .. } => Some(Word::Lost(answer::shown(&reason))),
        FromWorker::HostCall { wanted, .. } => asked.calls(wanted).ok().map(Word::Called),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::sandbox::{Failure, LogLevel, LogLine, Logs, MAX_PAGE, Outcome, Usage};

    const LIMITS: Limits = Limits {
        memory_bytes: 1 << 20,
        duration: Duration::from_secs(1),
        output_bytes: 100,
        host_calls: 2,
        host_bytes: 1_000,
    };

    /// Holds what came through to the bounds of what may.
    fn is_within_bounds(packet: &[u8], word: &Word) {
        match word {
            Word::Alive => assert_eq!(packet, [0, 0]),
            Word::Lost(reason) => assert!(!reason.contains(char::is_control) && reason.len() <= 300 * 10),
            Word::Called(HostCall::ListCollection { repo, collection, cursor, limit }) => {
                let bytes = repo.len() + collection.len() + cursor.as_ref().map_or(0, String::len);
                assert!(bytes <= packet.len() && (1..=MAX_PAGE).contains(limit));
            }
            Word::Called(HostCall::ReadBlob { cid, repo }) => {
                assert!(cid.len() + repo.as_ref().map_or(0, String::len) <= packet.len());
            }
            Word::Called(HostCall::ReadRecord { at_uri }) => assert!(at_uri.len() <= packet.len()),
            Word::Ended(Completion { result, usage, logs, .. }) => {
                match result {
                    Ok(output) => {
                        assert!(output.len() <= LIMITS.output_bytes);
                        serde_json::from_slice::<serde::de::IgnoredAny>(output).unwrap();
                    }
                    Err(failure) => {
                        assert_ne!(failure.outcome, Outcome::Ok);
                        assert!(failure.message.len() <= packet.len());
                    }
                }
                assert!(usage.peak_memory_bytes <= LIMITS.memory_bytes);
                assert_eq!((usage.host_calls, usage.input_bytes), (0, 2));
                let lines: usize = logs.lines.iter().map(|line| line.message.len()).sum();
                assert!(lines <= Logs::MAX_BYTES.min(packet.len()) && logs.lines.len() <= Logs::MAX_LINES);
            }
        }
    }

    fn packet(message: &FromWorker) -> Vec<u8> {
        [vec![0], postcard::to_stdvec(message).unwrap()].concat()
    }

    fn messages() -> impl Strategy<Value = FromWorker> {
        let text = || proptest::collection::vec(any::<char>(), 0..40).prop_map(String::from_iter);
        let line = text().prop_map(|message| LogLine { level: LogLevel::Info, message });
        let logs = (proptest::collection::vec(line, 0..5), any::<bool>())
            .prop_map(|(lines, cut)| Logs { lines, cut });
        let result = prop_oneof![
            "[0-9]{1,120}".prop_map(|output| Ok(Bytes::from(output))),
            text().prop_map(|output| Ok(Bytes::from(output))),
            (prop_oneof![Just(Outcome::Trap), Just(Outcome::Ok)], text())
                .prop_map(|(outcome, message)| Err(Failure { outcome, message })),
        ];
        let ended = (any::<u64>(), result, logs, any::<[u64; 3]>()).prop_map(|(run, result, logs, n)| {
            let usage = Usage { peak_memory_bytes: n[0], output_bytes: n[1], ..Usage::default() };
            let wall = Duration::from_nanos(n[2]);
            FromWorker::Ended { run, ending: Ok(Completion { result, wall, usage, logs }) }
        });
        let lost =
            (any::<u64>(), text()).prop_map(|(run, reason)| FromWorker::Ended { run, ending: Err(reason) });
        let wanted = prop_oneof![
            text().prop_map(|at_uri| HostCall::ReadRecord { at_uri }),
            (text(), proptest::option::of(text())).prop_map(|(cid, repo)| HostCall::ReadBlob { cid, repo }),
            (text(), text(), proptest::option::of(text()), any::<u32>()).prop_map(
                |(repo, collection, cursor, limit)| HostCall::ListCollection {
                    repo,
                    collection,
                    cursor,
                    limit
                }
            ),
        ];
        let called =
            (any::<u64>(), any::<u32>(), wanted, any::<u64>()).prop_map(|(run, call, wanted, left)| {
                FromWorker::HostCall { run, call, wanted, time_left: Duration::from_nanos(left) }
            });
        prop_oneof![ended, lost, called]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(word) = judge_worker(&bytes, LIMITS) {
                is_within_bounds(&bytes, &word);
            }
        }

        #[test]
        fn messages_with_something_changed_are_judged(
            message in messages(),
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut packet = packet(&message);
            for (at, byte) in changes {
                let at = at.index(packet.len());
                packet[at] = byte;
            }
            if let Some(word) = judge_worker(&packet, LIMITS) {
                is_within_bounds(&packet, &word);
            }
        }

        #[test]
        fn a_message_that_is_cut_or_has_more_after_it_is_none(
            message in messages(),
            end in any::<proptest::sample::Index>(),
            more in any::<u8>(),
        ) {
            let whole = packet(&message);
            prop_assert_eq!(judge_worker(&whole[..end.index(whole.len())], LIMITS), None);
            prop_assert_eq!(judge_worker(&[&whole[..], &[more]].concat(), LIMITS), None);
        }
    }

    #[test]
    fn a_length_that_the_packet_does_not_have_is_refused_before_there_is_memory_for_it() {
        // As much as can be said: more than there is address space.
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        for message in [
            FromWorker::Ended { run: 0, ending: Err(String::new()) },
            FromWorker::HostCall {
                run: 0,
                call: 0,
                wanted: HostCall::ReadRecord { at_uri: String::new() },
                time_left: Duration::ZERO,
            },
        ] {
            let honest = packet(&message);
            assert!(judge_worker(&honest, LIMITS).is_some());
            for at in 0..honest.len() {
                let claimed = [&honest[..at], &most, &honest[at + 1..]].concat();
                if let Some(word) = judge_worker(&claimed, LIMITS) {
                    is_within_bounds(&claimed, &word);
                }
            }
        }
    }
}
