//! How much a run may ask of its host.

use super::*;

#[test]
fn calls_are_counted_and_bounded() {
    let times = |times: u32| {
        guest(&format!(
            "(local $i i32) (local $last i64) (loop $l \
               (local.set $last (call $read_record (local.get $pointer) (local.get $length))) \
               (local.set $i (i32.add (local.get $i) (i32.const 1))) \
               (br_if $l (i32.lt_u (local.get $i) (i32.const {times})))) (local.get $last)"
        ))
    };
    let limits = Limits { host_calls: 3, ..WIDE };
    let door = Scripted::new(|_| Ok(record()));
    let three = run(&times(3), RECORD, limits, door.clone());
    assert_eq!((three.outcome(), three.usage.host_calls, door.asked().len()), (Outcome::Ok, 3, 3));
    // A million, of which the limit's number is made.
    for limits in [limits, WIDE] {
        let many = run(&times(1_000_000), RECORD, limits, door.clone());
        let message = format!("the function made more than {} host calls", limits.host_calls);
        assert_eq!(many.result, Err(Failure { outcome: Outcome::HostCallLimit, message }));
        assert_eq!(many.usage.host_calls, limits.host_calls);
        assert_eq!(door.asked().len(), limits.host_calls as usize);
    }
}

#[test]
fn what_calls_bring_in_is_bounded_all_together() {
    let blob = |bytes: usize| {
        Scripted::new(move |_| {
            Ok(HostReply::Blob { mime_type: "a/b".into(), bytes: Bytes::from(vec![0; bytes]) })
        })
    };
    let twice = guest(
        "(drop (call $read_blob (local.get $pointer) (local.get $length))) \
         (call $read_blob (local.get $pointer) (local.get $length))",
    );
    let limits = Limits { host_bytes: MIB, ..WIDE };
    let request = r#"{"cid":"bafk"}"#;
    let half = run(&twice, request, limits, blob((512 << 10) - 3));
    assert_eq!(half.outcome(), Outcome::Ok);
    let more = run(&twice, request, limits, blob((512 << 10) - 2));
    let message = "the function's host calls brought in more than 1 MiB";
    assert_eq!(more.result, Err(Failure { outcome: Outcome::HostCallLimit, message: message.into() }));
    assert_eq!(more.usage.host_calls, 2);
}

#[test]
fn calls_that_never_reach_the_door_cost_the_guest_its_own_time() {
    let limits = Limits { duration: Duration::from_millis(50), ..WIDE };
    let at_a_fixed_place = |body: &str| {
        format!(
            r#"(module {IMPORTS} (memory (export "memory") 1)
                 (func (export "alloc") (param i32) (result i32) i32.const 1024)
                 (func (export "run") (param i32 i32) (result i64) (loop $l {body} (br $l)) unreachable))"#
        )
    };
    for body in ["(drop (call $read_record (i32.const 0) (i32.const 9)))", "(drop (call $get_context))"] {
        let completion = run(&at_a_fixed_place(body), "{}", limits, Arc::new(Broken));
        assert_eq!(completion.outcome(), Outcome::Timeout, "{body}");
        assert_eq!(completion.usage.host_calls, 0);
    }
}
