//! The queue by itself. What guests make of it is tested from outside.

use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::sandbox::engine;

/// How long is waited for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn executor(threads: usize) -> Executor {
    // The beat ends with its engine, so this one stays.
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| engine::build(4).unwrap().engine);
    Executor::start(&ENGINE, threads).unwrap()
}

fn control(executor: &Executor) -> Arc<Control> {
    Arc::new(Control::new(Duration::from_secs(60), executor.closing()))
}

/// Is pending as often as it is told to, ready again at once; then says so.
struct Turns {
    left: u32,
    done: mpsc::Sender<&'static str>,
    name: &'static str,
}

impl Future for Turns {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.left == 0 {
            self.done.send(self.name).unwrap();
            return Poll::Ready(());
        }
        self.left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Holds the executor's only thread until the sender is used.
fn hold(executor: &Executor) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel();
    executor.spawn(Box::pin(async move { held.recv().unwrap() }), control(executor));
    release
}

#[test]
fn quick_runs_pass_long_ones_but_only_so_many() {
    let executor = executor(1);
    let (done, order) = mpsc::channel();
    let spawn = |name, left| {
        let turns = Turns { left, done: done.clone(), name };
        executor.spawn(Box::pin(turns), control(&executor));
    };
    // The long one has its first turn, and stands in the rotation while the thread is held.
    let release = hold(&executor);
    spawn("long", 2);
    let second = hold(&executor);
    release.send(()).unwrap();
    while executor.ready() != 1 {
        thread::yield_now();
    }
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        spawn(name, 0);
    }
    second.send(()).unwrap();
    let names: Vec<_> = (0..11).map(|_| order.recv_timeout(PATIENCE).unwrap()).collect();
    // Three had passed before: "long" at its first turn, and the two that held the thread. So one more
    // does before its second turn, and then four before its last.
    assert_eq!(names, ["a", "b", "c", "d", "e", "long", "f", "g", "h", "i", "j"]);
}

#[test]
fn a_run_that_waits_is_woken_and_its_waiting_counts() {
    let executor = executor(1);
    // On a busy machine the answer may be there before the run waits.
    let has_waited = [5, 50, 500, 5_000].into_iter().any(|pause| {
        let control = control(&executor);
        let (answer, answered) = tokio::sync::oneshot::channel::<u8>();
        let (done, ended) = mpsc::channel();
        let task = {
            let control = Arc::clone(&control);
            async move {
                let value = answered.await.unwrap();
                done.send((value, control.stopwatch.reads())).unwrap();
            }
        };
        executor.spawn(Box::pin(task), control);
        thread::sleep(Duration::from_millis(pause));
        answer.send(7).unwrap();
        let (value, took) = ended.recv_timeout(PATIENCE).unwrap();
        assert_eq!(value, 7);
        took.elapsed > took.cpu
    });
    assert!(has_waited);
}

#[test]
fn a_run_that_panics_is_dropped_and_the_thread_goes_on() {
    let executor = executor(1);
    let (held, dropped) = mpsc::channel::<()>();
    let panics = async move {
        let _held = held;
        std::panic::panic_any("on purpose");
    };
    executor.spawn(Box::pin(panics), control(&executor));
    assert_eq!(dropped.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    let (done, order) = mpsc::channel();
    executor.spawn(Box::pin(Turns { left: 1, done, name: "next" }), control(&executor));
    assert_eq!(order.recv_timeout(PATIENCE), Ok("next"));
}

#[test]
fn a_canceled_run_is_dropped_while_it_waits_or_queues() {
    let executor = executor(1);
    for wake_first in [false, true] {
        let (held, dropped) = mpsc::channel::<()>();
        let (started, start) = mpsc::channel();
        let (answer, answered) = tokio::sync::oneshot::channel::<u8>();
        let waits = async move {
            let _held = held;
            started.send(()).unwrap();
            let _ = answered.await;
            std::future::pending::<()>().await;
        };
        let handle = executor.spawn(Box::pin(waits), control(&executor));
        start.recv_timeout(PATIENCE).unwrap();
        let release = hold(&executor);
        let mut answer = Some(answer);
        if wake_first {
            answer.take().unwrap().send(1).unwrap();
        }
        handle.cancel();
        release.send(()).unwrap();
        assert_eq!(dropped.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}

#[test]
fn closing_drops_what_is_queued() {
    let executor = executor(1);
    let release = hold(&executor);
    let (held, dropped) = mpsc::channel::<()>();
    let queued = async move {
        let _held = held;
        std::future::pending::<()>().await;
    };
    executor.spawn(Box::pin(queued), control(&executor));
    drop(executor);
    release.send(()).unwrap();
    assert_eq!(dropped.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
}

type Order = Box<dyn FnOnce() + Send>;

/// Does what it is sent.
struct Told(Mutex<mpsc::Receiver<Order>>);

impl Source for Told {
    fn take_in(&self) -> bool {
        let told = self.0.lock().unwrap().recv();
        told.is_ok_and(|told| {
            told();
            true
        })
    }
}

/// An executor of which this many threads run something at once, and what tells it things.
fn told(busy: usize) -> (Arc<Executor>, mpsc::Sender<Order>) {
    let executor = Arc::new(executor(busy + 1));
    let (tell, orders) = mpsc::channel();
    executor.listen_to(Arc::new(Told(Mutex::new(orders))));
    (executor, tell)
}

#[test]
fn who_heard_of_a_run_gives_it_its_turn() {
    let (executor, tell) = told(2);
    let mut itself = 0;
    for _ in 0..20 {
        let (done, threads) = mpsc::channel();
        let spawner = Arc::clone(&executor);
        tell.send(Box::new(move || {
            done.send(thread::current().id()).unwrap();
            let turn = async move { done.send(thread::current().id()).unwrap() };
            spawner.spawn(Box::pin(turn), control(&spawner));
        }))
        .unwrap();
        let heard = threads.recv_timeout(PATIENCE).unwrap();
        itself += usize::from(threads.recv_timeout(PATIENCE).unwrap() == heard);
    }
    // But for one that was awake for another reason.
    assert!(itself >= 15, "{itself}");
}

#[test]
fn another_thread_listens_while_who_did_has_a_long_turn() {
    let (executor, tell) = told(1);
    let (release, held) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let spawner = Arc::clone(&executor);
    tell.send(Box::new(move || {
        let turn = async move {
            begun.send(()).unwrap();
            held.recv().unwrap();
        };
        spawner.spawn(Box::pin(turn), control(&spawner));
    }))
    .unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    let (heard, hears) = mpsc::channel();
    tell.send(Box::new(move || heard.send(()).unwrap())).unwrap();
    hears.recv_timeout(PATIENCE).unwrap();
    release.send(()).unwrap();
}

#[test]
fn who_listens_is_not_one_of_those_that_have_turns() {
    let (executor, tell) = told(2);
    let (begun, has_begun) = mpsc::channel();
    let holds: Vec<_> = (0..4)
        .map(|_| {
            let (release, held) = mpsc::channel::<()>();
            let begun = begun.clone();
            let turn = async move {
                begun.send(()).unwrap();
                held.recv().unwrap();
            };
            executor.spawn(Box::pin(turn), control(&executor));
            release
        })
        .collect();
    has_begun.recv_timeout(PATIENCE).unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    // Two have a turn, and a third thread listens; it leaves the others where they are.
    for _ in 0..3 {
        let (heard, hears) = mpsc::channel();
        tell.send(Box::new(move || heard.send(()).unwrap())).unwrap();
        hears.recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!(executor.ready(), 2);
    for release in &holds {
        release.send(()).unwrap();
    }
    has_begun.recv_timeout(PATIENCE).unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_run_that_is_woken_from_elsewhere_need_not_wait_for_who_listens() {
    let (executor, _tell) = told(1);
    let (answer, answered) = tokio::sync::oneshot::channel::<u8>();
    let (waits, is_waiting) = mpsc::channel();
    let (done, ended) = mpsc::channel();
    let task = async move {
        waits.send(()).unwrap();
        done.send(answered.await.unwrap()).unwrap();
    };
    executor.spawn(Box::pin(task), control(&executor));
    is_waiting.recv_timeout(PATIENCE).unwrap();
    answer.send(7).unwrap();
    assert_eq!(ended.recv_timeout(PATIENCE), Ok(7));
}

#[test]
fn runs_go_on_when_there_is_nothing_more_to_be_heard() {
    let (executor, tell) = told(1);
    drop(tell);
    let (done, ended) = mpsc::channel();
    for name in ["a", "b"] {
        let turns = Turns { left: 3, done: done.clone(), name };
        executor.spawn(Box::pin(turns), control(&executor));
    }
    let mut names = [ended.recv_timeout(PATIENCE).unwrap(), ended.recv_timeout(PATIENCE).unwrap()];
    names.sort_unstable();
    assert_eq!(names, ["a", "b"]);
}
