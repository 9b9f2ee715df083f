//! Waiting, for descriptors and for time.

use std::time::Instant;

use super::*;

/// A subscription to a clock, at a place.
fn clock(at: u32, userdata: u64, clock: u32, nanos: u64, flags: u16) -> String {
    format!(
        "(memory.fill (i32.const {at}) (i32.const 0) (i32.const 48)) \
         (i64.store (i32.const {at}) (i64.const {userdata})) (i32.store offset=16 (i32.const {at}) (i32.const {clock})) \
         (i64.store offset=24 (i32.const {at}) (i64.const {})) (i32.store16 offset=40 (i32.const {at}) (i32.const {flags}))",
        nanos as i64
    )
}

/// A subscription to a descriptor, at a place.
fn descriptor(at: u32, userdata: u64, kind: u8, fd: u32) -> String {
    format!(
        "(memory.fill (i32.const {at}) (i32.const 0xff) (i32.const 48)) (i64.store (i32.const {at}) (i64.const {userdata})) \
         (i32.store8 offset=8 (i32.const {at}) (i32.const {kind})) (i32.store offset=16 (i32.const {at}) (i32.const {fd}))"
    )
}

/// Polls subscriptions at 512 with events at 2048: the result, the number of events, and of the first
/// `events` the userdata, the error, the type, the bytes and the flags.
fn poll(subscriptions: u32, events: u32) -> String {
    let shown: String = (0..events)
        .map(|event| 2_048 + 32 * event)
        .map(|at| {
            format!(
                "(call $put (i64.load (i32.const {at}))) (call $number (i32.load16_u offset=8 (i32.const {at}))) \
                 (call $number (i32.load8_u offset=10 (i32.const {at}))) (call $put (i64.load offset=16 (i32.const {at}))) \
                 (call $number (i32.load16_u offset=24 (i32.const {at})))"
            )
        })
        .collect();
    format!(
        "(call $number (call $poll_oneoff (i32.const 512) (i32.const 2048) (i32.const {subscriptions}) (i32.const 400))) \
         (call $number (i32.load (i32.const 400))) {shown}"
    )
}

#[test]
fn descriptors_are_ready_at_once() {
    let set = [
        descriptor(512, 7, 1, 0),
        descriptor(560, 8, 2, 1),
        clock(608, 9, 1, 1 << 62, 0),
        descriptor(656, 10, 1, 5),
        descriptor(704, 11, 2, 0),
        clock(752, 12, 2, 5, 0),
    ];
    // Did it wait for the clock, it would not end in time.
    let shown = numbers("", &format!("{} {}", set.concat(), poll(6, 5)));
    assert_eq!(
        shown,
        [
            &[0, 5][..],
            &[7, 0, 1, 8, 0],
            &[8, 0, 2, 65_536, 0],
            &[10, BADF, 1, 0, 0],
            &[11, BADF, 2, 0, 0],
            &[12, NOTSUP, 0, 0, 0]
        ]
        .concat()
    );
    // At the end of stdin there is nothing more to come.
    let drain = "(call $buffer (i32.const 65536) (i32.const 100)) \
                 (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))";
    let shown = numbers("", &format!("{drain} {} {}", set[0], poll(1, 1)));
    assert_eq!(shown, [0, 1, 7, 0, 1, 0, 1]);
}

#[test]
fn a_sleep_lasts_and_no_clock_shows_it() {
    let sleep = |nanos: u64, clock_id: u32, flags: u16| {
        let set = [clock(512, 1, clock_id, nanos, flags), clock(560, 2, 1, 3_600_000_000_000, 0)].concat();
        let now = "(drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 16))) (call $put (i64.load (i32.const 16)))";
        let text = command("", &format!("{set} {} {now} (call $print)", poll(2, 1)));
        let completion = run(&text, "{}", WIDE);
        assert_eq!(completion.result, Ok(Bytes::from("[0,1,1,0,0,0,0,1000000000]")));
        completion
    };
    let asked_for = Duration::from_millis(60);
    // Absolute times count from where the clock stands, one second in.
    for (nanos, flags) in [(60_000_000, 0), (1_060_000_000, 1)] {
        within(asked_for + SLACK, || {
            let began = Instant::now();
            let slept = sleep(nanos, 1, flags);
            // A run's own time leaves out what its thread has to wait for: on a busy machine, a little of the sleep.
            assert!(began.elapsed() >= asked_for, "{slept:?}");
            // The processor was free for others.
            assert!(slept.usage.cpu < asked_for, "{slept:?}");
            slept.wall
        });
    }
    for (nanos, clock_id, flags) in [(0, 1, 0), (5, 0, 1), (999_999_999, 1, 1)] {
        within(Duration::from_millis(50), || sleep(nanos, clock_id, flags).wall);
    }
}

#[test]
fn a_sleep_ends_with_the_run() {
    let limits = Limits { duration: Duration::from_millis(40), ..WIDE };
    for nanos in [1_000_000_000, u64::MAX] {
        let text = command("", &format!("{} {}", clock(512, 1, 0, nanos, 0), poll(1, 0)));
        within(limits.duration + SLACK, || {
            let completion = run(&text, "{}", limits);
            assert_eq!(completion.outcome(), Outcome::Timeout);
            assert!(completion.wall >= limits.duration, "{completion:?}");
            completion.wall
        });
    }
    // Naps without end.
    let naps = command(
        "",
        &format!(
            "{} (loop $l (drop (call $poll_oneoff (i32.const 512) (i32.const 2048) (i32.const 1) (i32.const 400))) (br $l))",
            clock(512, 1, 0, 1, 0)
        ),
    );
    assert_eq!(run(&naps, "{}", limits).outcome(), Outcome::Timeout);
}

#[test]
fn a_poll_of_nonsense_is_refused() {
    let call = |list: i32, events: i32, length: i32, count: i32| {
        format!(
            "(call $number (call $poll_oneoff (i32.const {list}) (i32.const {events}) (i32.const {length}) (i32.const {count})))"
        )
    };
    let body = [
        descriptor(512, 7, 1, 0),
        call(512, 2_048, 0, 400),
        call(512, 2_048, 1_025, 400),
        call(512, 2_048, -1, 400),
        call(196_561, 2_048, 1, 400),
        call(-48, 2_048, 1, 400),
        call(512, 196_577, 1, 400),
        call(512, 2_048, 1, 196_605),
        descriptor(512, 7, 3, 0),
        call(512, 2_048, 1, 400),
    ];
    assert_eq!(numbers("", &body.concat()), [INVAL, INVAL, INVAL, FAULT, FAULT, FAULT, FAULT, INVAL]);
}
