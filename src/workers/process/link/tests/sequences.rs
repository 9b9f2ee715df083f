//! Whatever a worker says, in whatever order: its runs have their own answers or none, and the first wrong
//! word is its last.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

const RUNS: usize = 4;
const OUTPUTS: [&str; RUNS] = ["\"0\"", "\"1\"", "\"2\"", "\"3\""];

/// What the worker says next.
#[derive(Clone, Debug)]
enum Step {
    /// The end of a run, unless it was told already.
    Ends(usize),
    /// The one host call of a run, unless it was made or the run has ended.
    Calls(usize),
    /// What no honest worker says.
    Wrong(Wrong),
}

#[derive(Clone, Debug)]
enum Wrong {
    BadOutput(usize),
    Cut(u8),
    EndOfNone(u64),
    CallOfNone(u64),
    EndsAgain(usize),
    Garbage(Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wrong = prop_oneof![
        (0..RUNS).prop_map(Wrong::BadOutput),
        any::<u8>().prop_map(Wrong::Cut),
        (RUNS as u64..).prop_map(Wrong::EndOfNone),
        (RUNS as u64..).prop_map(Wrong::CallOfNone),
        (0..RUNS).prop_map(Wrong::EndsAgain),
        vec(any::<u8>(), 0..100).prop_map(Wrong::Garbage),
    ];
    let step = prop_oneof![
        4 => (0..RUNS).prop_map(Step::Ends),
        3 => (0..RUNS).prop_map(Step::Calls),
        1 => wrong.prop_map(Step::Wrong),
    ];
    vec(step, 0..12)
}

/// The packets of a wrong word, some of which need a right one before; `None` where it would be right.
fn wrong(wrong: &Wrong, has_ended: &[bool; RUNS]) -> Option<Vec<u8>> {
    let body = |message: &FromWorker| postcard::to_stdvec(message).unwrap();
    match wrong {
        // Of a run that ended, it is wrong too.
        Wrong::BadOutput(run) => Some(body(&ended(*run as u64, "{"))),
        Wrong::Cut(at) => {
            let whole = body(&ended(0, OUTPUTS[0]));
            Some(whole[..usize::from(*at) % whole.len()].to_vec())
        }
        Wrong::EndOfNone(run) => Some(body(&ended(*run, "1"))),
        Wrong::CallOfNone(run) => Some(body(&calls(*run, 0))),
        Wrong::EndsAgain(run) => has_ended[*run].then(|| body(&ended(*run as u64, OUTPUTS[*run]))),
        // No message begins so.
        Wrong::Garbage(bytes) => Some([&[0xff][..], bytes].concat()),
    }
}

async fn play(steps: &[Step]) {
    let mut stage = Stage::set();
    let runs: Vec<_> = (0..RUNS).map(|_| stage.run()).collect();
    let (mut has_ended, mut has_called, mut was_wrong) = ([false; RUNS], [false; RUNS], false);
    for step in steps {
        match step {
            Step::Ends(run) if !has_ended[*run] => {
                has_ended[*run] = true;
                stage.say(&ended(*run as u64, OUTPUTS[*run]));
            }
            Step::Calls(run) if !has_ended[*run] && !has_called[*run] => {
                has_called[*run] = true;
                stage.say(&calls(*run as u64, 0));
            }
            Step::Wrong(word) => {
                let Some(word) = wrong(word, &has_ended) else { continue };
                socket::Outgoing::new(word, None).unwrap().send(&stage.worker).unwrap();
                // Nothing after it is heard: not even that all have ended well.
                for (run, output) in OUTPUTS.into_iter().enumerate() {
                    let _ = packet(&ended(run as u64, output), None).unwrap().send(&stage.worker);
                }
                was_wrong = true;
                break;
            }
            _ => {}
        }
    }
    let (answered, lost): (Vec<_>, Vec<_>) =
        runs.into_iter().enumerate().partition(|(run, _)| has_ended[*run]);
    for (run, waiting) in answered {
        assert_eq!(waiting.result().await.unwrap().result.unwrap(), OUTPUTS[run]);
    }
    if !was_wrong {
        // The worker dies.
        stage.worker = socket::pair().unwrap().1;
    }
    for (run, waiting) in lost {
        assert_eq!(waiting.result().await, Err(Lost::Worker), "{run}");
    }
    stage.gone.recv().await.unwrap();
}

#[test]
fn runs_have_their_own_answers_or_none_and_the_first_wrong_word_is_the_last() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    let played = TestRunner::new(config).run(&steps(), |steps| {
        runtime.block_on(play(&steps));
        Ok(())
    });
    played.unwrap();
}
