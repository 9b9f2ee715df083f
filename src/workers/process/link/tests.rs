//! A worker that lies: the test plays its part at the other end of the socket.

use bytes::Bytes;
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::sync::mpsc;

use super::super::message::{MAX_FROM_PROCESS, Walls};
use super::super::{memfile, socket};
use super::*;
use crate::sandbox::{Artifact, BoxFuture, Failure, Limits, Logs, Outcome, Owner, Usage};

mod sequences;

const FUNCTION: Function = [5; 32];

const LIMITS: Limits = Limits {
    memory_bytes: 1 << 20,
    duration: Duration::from_secs(1),
    output_bytes: 1_000,
    host_calls: 2,
    host_bytes: 1_000,
};

/// A link, and the worker's end of it.
struct Stage {
    link: Arc<Link>,
    worker: OwnedFd,
    gone: mpsc::Receiver<Suspects>,
}

impl Stage {
    fn set() -> Stage {
        let (ours, worker) = socket::pair().unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        let started = Started {
            process: Process::none(),
            connection: Connection::new(ours).unwrap(),
            receiver: Receiver::new(MAX_FROM_PROCESS),
            walls: Walls::default(),
        };
        let (tell, gone) = mpsc::channel(1);
        let link = Link::attend(started, Duration::from_millis(200), move |suspects| {
            let _ = tell.try_send(suspects);
        });
        Stage { link, worker, gone }
    }

    /// Sends a run, whose number is one more than the last one's, from 0.
    fn run(&self) -> Waiting {
        let installed = Installed {
            number: 7,
            mode: Mode::PureV1,
            initial_bytes: 0,
            file: memfile::holding(b"code").unwrap(),
            function: FUNCTION,
        };
        let job = Job {
            artifact: Artifact::new(Arc::new(()), 0),
            owner: Owner { name: "did:web:a.example".into(), public: true },
            input: Bytes::from_static(b"{}"),
            limits: LIMITS,
            context: Arc::default(),
            door: Arc::new(Echo),
        };
        let held = Held { trial: None, lease: Lease::none() };
        self.link.begin(&job, &installed, || held).unwrap()
    }

    fn say(&self, message: &FromWorker) {
        packet(message, None).unwrap().send(&self.worker).unwrap();
    }

    fn hears(&self) -> ToWorker {
        message(&Receiver::new(1 << 20).receive(&self.worker).unwrap()).unwrap()
    }
}

/// Answers each call with its own question.
struct Echo;

impl Door for Echo {
    fn call(&self, wanted: HostCall, _: Duration) -> BoxFuture<'static, Result<HostReply, Denied>> {
        Box::pin(async move { Err(Denied(format!("{wanted:?}"))) })
    }
}

/// So many runs of the one author and function that there are here.
fn suspects(runs: usize) -> Suspects {
    vec![(FUNCTION, "did:web:a.example".into()); runs]
}

fn ended(run: u64, output: &'static str) -> FromWorker {
    let ending = Ok(Completion {
        result: Ok(Bytes::from_static(output.as_bytes())),
        wall: Duration::ZERO,
        usage: Usage::default(),
        logs: Logs::default(),
    });
    FromWorker::Ended { run, ending }
}

fn calls(run: u64, call: u32) -> FromWorker {
    let wanted = HostCall::ReadRecord { at_uri: format!("at://{call}") };
    FromWorker::HostCall { run, call, wanted, time_left: Duration::MAX }
}

#[tokio::test]
async fn an_honest_worker_is_sent_the_module_once_and_believed() {
    let stage = Stage::set();
    let (first, second) = (stage.run(), stage.run());
    assert_eq!(stage.hears(), ToWorker::Load { module: 7, mode: Mode::PureV1, initial_bytes: 0 });
    assert!(matches!(stage.hears(), ToWorker::Run { run: 0, module: 7, .. }));
    assert!(matches!(stage.hears(), ToWorker::Run { run: 1, module: 7, .. }));
    // Not in the order in which they began.
    stage.say(&ended(1, "\"second\""));
    stage.say(&ended(0, "\"first\""));
    assert_eq!(first.result().await.unwrap().result.unwrap(), "\"first\"");
    assert_eq!(second.result().await.unwrap().result.unwrap(), "\"second\"");
}

#[tokio::test]
async fn host_calls_are_done_here_and_answered_there() {
    let stage = Stage::set();
    let run = stage.run();
    stage.hears();
    stage.hears();
    stage.say(&calls(0, 5));
    tokio::time::timeout(Duration::from_secs(5), async {
        while stage.link.state().runs.values().any(|run| run.call.is_some() || run.asked_nothing()) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let reply = Err(Denied("ReadRecord { at_uri: \"at://5\" }".into()));
    assert_eq!(stage.hears(), ToWorker::Reply { run: 0, call: 5, reply });
    stage.say(&ended(0, "1"));
    assert_eq!(run.result().await.unwrap().usage.host_calls, 1);
}

#[tokio::test]
async fn each_lie_ends_the_worker_and_its_runs_and_nothing_else() {
    let failure = |outcome| {
        let mut message = ended(0, "1");
        if let FromWorker::Ended { ending: Ok(completion), .. } = &mut message {
            completion.result = Err(Failure { outcome, message: String::new() });
        }
        message
    };
    let packets = |messages: &[FromWorker]| -> Vec<socket::Outgoing> {
        messages.iter().map(|message| packet(message, None).unwrap()).collect()
    };
    let with_file = |file| vec![packet(&ended(0, "1"), Some(file)).unwrap()];
    let long = "1".repeat(1_001).leak();
    let cases: Vec<(&str, Vec<socket::Outgoing>)> = vec![
        ("garbage", vec![socket::Outgoing::new(vec![0xff; 100], None).unwrap()]),
        ("nothing", vec![socket::Outgoing::new(vec![], None).unwrap()]),
        ("a whole message and more", {
            let body = [postcard::to_stdvec(&ended(0, "1")).unwrap(), vec![0]].concat();
            vec![socket::Outgoing::new(body, None).unwrap()]
        }),
        (
            "a body that is too long",
            vec![socket::Outgoing::new(vec![0; MAX_FROM_PROCESS as usize + 1], None).unwrap()],
        ),
        ("a file", with_file(memfile::holding(b"x").unwrap())),
        ("a file that is not sealed", with_file(memfd_create("x", MemfdFlags::CLOEXEC).unwrap())),
        ("the end of another's run", packets(&[ended(99, "1")])),
        ("a call of another's run", packets(&[calls(99, 0)])),
        ("an output that is no value", packets(&[ended(0, "{")])),
        ("an output that is too long", packets(&[ended(0, long)])),
        ("a failure that went well", packets(&[failure(Outcome::Ok)])),
        ("two calls at once", packets(&[calls(0, 0), calls(0, 1)])),
    ];
    for (lie, packets) in cases {
        let other = Stage::set();
        let others = other.run();
        let mut stage = Stage::set();
        let (first, second) = (stage.run(), stage.run());
        for packet in packets {
            // The second of two may come when nobody listens any more.
            let _ = packet.send(&stage.worker);
        }
        assert_eq!(first.result().await, Err(Lost::Worker), "{lie}");
        assert_eq!(second.result().await, Err(Lost::Worker), "{lie}");
        // Also the run that the lie was about.
        assert_eq!(stage.gone.recv().await.unwrap(), suspects(2), "{lie}");
        other.say(&ended(0, "1"));
        assert_eq!(others.result().await.unwrap().result.unwrap(), "1", "{lie}");
    }
}

#[tokio::test]
async fn an_answer_given_twice_counts_once_and_ends_the_worker() {
    let mut stage = Stage::set();
    let (first, second) = (stage.run(), stage.run());
    stage.say(&ended(0, "1"));
    stage.say(&ended(0, "2"));
    assert_eq!(first.result().await.unwrap().result.unwrap(), "1");
    assert_eq!(second.result().await, Err(Lost::Worker));
    stage.gone.recv().await.unwrap();
}

#[tokio::test]
async fn more_host_calls_than_a_run_may_make_end_the_worker() {
    let mut stage = Stage::set();
    let run = stage.run();
    stage.hears();
    stage.hears();
    for call in 0..3 {
        stage.say(&calls(0, call));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(run.result().await, Err(Lost::Worker));
    stage.gone.recv().await.unwrap();
}

#[tokio::test]
async fn a_worker_that_never_answers_is_ended_when_the_run_was_given_up() {
    let mut stage = Stage::set();
    let (given_up, waits) = (stage.run(), stage.run());
    drop(given_up);
    assert_eq!(waits.result().await, Err(Lost::Worker));
    // The one that was given up is as suspect as the other.
    assert_eq!(stage.gone.recv().await.unwrap(), suspects(2));
}

#[tokio::test]
async fn a_worker_that_holds_a_run_and_says_nothing_is_asked_and_then_ended() {
    let mut stage = Stage::set();
    let run = stage.run();
    assert_eq!(run.result().await, Err(Lost::Worker));
    assert_eq!(stage.gone.recv().await.unwrap(), suspects(1));
    let told = [stage.hears(), stage.hears(), stage.hears()];
    assert!(matches!(told, [ToWorker::Load { .. }, ToWorker::Run { .. }, ToWorker::Speak]), "{told:?}");
}

#[tokio::test]
async fn a_worker_that_says_that_it_is_alive_keeps_its_runs_and_one_that_holds_none_is_not_asked() {
    let stage = Stage::set();
    let run = stage.run();
    stage.hears();
    stage.hears();
    rustix::io::ioctl_fionbio(&stage.worker, true).unwrap();
    // Longer than one that is silent would have.
    for _ in 0..2 * LOOKS {
        let mut receiver = Receiver::new(1 << 20);
        let asked = loop {
            match receiver.receive(&stage.worker) {
                Err(Broken::Io(Errno::AGAIN)) => tokio::time::sleep(Duration::from_millis(1)).await,
                received => break received.unwrap(),
            }
        };
        assert_eq!(message::<ToWorker>(&asked).unwrap(), ToWorker::Speak);
        stage.say(&FromWorker::Alive);
    }
    stage.say(&ended(0, "1"));
    assert_eq!(run.result().await.unwrap().result.unwrap(), "1");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!stage.link.state().over);
}

#[tokio::test]
async fn a_worker_that_says_that_it_is_alive_unasked_is_ended() {
    let stage = Stage::set();
    let run = stage.run();
    stage.say(&FromWorker::Alive);
    assert_eq!(run.result().await, Err(Lost::Worker));
}

#[tokio::test]
async fn a_run_that_was_given_up_is_canceled_and_returns_what_it_held_when_it_is_gone() {
    let stage = Stage::set();
    let run = stage.run();
    stage.hears();
    stage.hears();
    drop(run);
    assert_eq!(stage.hears(), ToWorker::Cancel { run: 0 });
    assert_eq!(stage.link.state().runs.len(), 1);
    stage.say(&FromWorker::Ended { run: 0, ending: Err("canceled".into()) });
    while !stage.link.state().runs.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_worker_that_is_gone_takes_its_runs_with_it() {
    let Stage { link, worker, mut gone } = Stage::set();
    let stage = Stage { link, worker, gone: mpsc::channel(1).1 };
    let run = stage.run();
    let link = Arc::clone(&stage.link);
    drop(stage);
    assert_eq!(run.result().await, Err(Lost::Worker));
    gone.recv().await.unwrap();
    assert!(link.state().over);
}

impl InFlight {
    /// Whether no host call has been heard of yet.
    fn asked_nothing(&self) -> bool {
        self.asked.has_made_no_call()
    }
}
