//! How long a call spent in each of its stages.

use std::time::{Duration, Instant};

use metrics::histogram;

use super::handles;

/// Seconds that calls spent in a stage.
pub(super) const STAGE_SECONDS: &str = "at_functions_stage_seconds";

/// A part of the way of a call, in the order in which a call goes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Who calls: the token, and the issuer's document where it is not known.
    Auth,
    /// The request's body.
    Body,
    /// The function's record, proved or known.
    Record,
    /// Whether the caller may run it: its author's grant where one is needed.
    Policy,
    /// The input held against the record's schema.
    Input,
    /// Whether the code is given out still, and its bytes if they had to be fetched for that.
    Code,
    /// The compiled code: in memory, on disk, or compiled, with the wait for a place.
    Compile,
    /// Waiting for a place, for memory and for a thread. A run that gave no outcome counts here.
    Queue,
    /// The guest, from its first step to its output.
    Run,
    /// The output held against its schema, and the answer.
    Answer,
}

impl Stage {
    /// All there are, in the order of their values.
    pub const ALL: [Stage; 10] = [
        Stage::Auth,
        Stage::Body,
        Stage::Record,
        Stage::Policy,
        Stage::Input,
        Stage::Code,
        Stage::Compile,
        Stage::Queue,
        Stage::Run,
        Stage::Answer,
    ];

    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Auth => "auth",
            Stage::Body => "body",
            Stage::Record => "record",
            Stage::Policy => "policy",
            Stage::Input => "input",
            Stage::Code => "code",
            Stage::Compile => "compile",
            Stage::Queue => "queue",
            Stage::Run => "run",
            Stage::Answer => "answer",
        }
    }
}

/// The stopwatch of one call. Stages that it did not reach have no time.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    current: Option<(Stage, Instant)>,
    took: [Option<Duration>; Stage::ALL.len()],
}

impl Stages {
    /// Ends the stage that the call was in, and begins another.
    pub fn enter(&mut self, stage: Stage) {
        self.end();
        self.current = Some((stage, Instant::now()));
    }

    /// Ends the stage that the call was in.
    pub fn end(&mut self) {
        if let Some((stage, began)) = self.current.take() {
            self.took[stage as usize] = Some(began.elapsed());
        }
    }

    /// Ends the queue: of the time since it was entered, the guest had `ran`.
    pub fn ran(&mut self, ran: Duration) {
        self.end();
        let both = self.took(Stage::Queue).unwrap_or_default();
        self.took[Stage::Queue as usize] = Some(both.saturating_sub(ran));
        self.took[Stage::Run as usize] = Some(ran);
    }

    /// What a stage took, once it has ended.
    pub fn took(&self, stage: Stage) -> Option<Duration> {
        self.took[stage as usize]
    }

    /// Puts what the stages took into the metrics.
    pub fn record(&self) {
        let known = handles::known();
        for stage in Stage::ALL {
            let Some(took) = self.took(stage) else { continue };
            match known {
                Some(known) => known.stage(stage).record(took.as_secs_f64()),
                None => histogram!(STAGE_SECONDS, "stage" => stage.as_str()).record(took.as_secs_f64()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_stages_are_their_places_in_the_list() {
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, place);
        }
    }

    #[test]
    fn a_stage_that_a_call_was_in_when_it_ended_has_its_time_and_later_ones_have_none() {
        let mut stages = Stages::default();
        stages.enter(Stage::Auth);
        stages.enter(Stage::Body);
        assert!(stages.took(Stage::Auth).is_some());
        assert_eq!(stages.took(Stage::Body), None);
        stages.end();
        let reached: Vec<_> = Stage::ALL.into_iter().filter(|stage| stages.took(*stage).is_some()).collect();
        assert_eq!(reached, [Stage::Auth, Stage::Body]);
    }

    #[test]
    fn what_was_not_the_guests_was_the_queues() {
        let mut stages = Stages::default();
        stages.enter(Stage::Queue);
        // More than has passed: clocks of two processes differ by a little.
        stages.ran(Duration::from_secs(60));
        assert_eq!(stages.took(Stage::Run), Some(Duration::from_secs(60)));
        assert_eq!(stages.took(Stage::Queue), Some(Duration::ZERO));
    }
}
