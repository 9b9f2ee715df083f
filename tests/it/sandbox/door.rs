//! Doors for tests: they note what is asked of them and answer as they are told to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use at_functions::sandbox::{BoxFuture, Denied, Door, HostCall, HostReply};

use super::*;

type Answer = dyn Fn(&HostCall) -> Result<HostReply, Denied> + Send + Sync;

/// Answers at once with what a function says.
pub struct Scripted {
    answer: Box<Answer>,
    asked: Mutex<Vec<HostCall>>,
}

impl Scripted {
    pub fn new(
        answer: impl Fn(&HostCall) -> Result<HostReply, Denied> + Send + Sync + 'static,
    ) -> Arc<Scripted> {
        Arc::new(Scripted { answer: Box::new(answer), asked: Mutex::default() })
    }

    /// What has been asked, in order; the door then forgets it.
    pub fn asked(&self) -> Vec<HostCall> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Door for Scripted {
    fn call(&self, call: HostCall, _: Duration) -> BoxFuture<'static, Result<HostReply, Denied>> {
        let answer = (self.answer)(&call);
        self.asked.lock().unwrap().push(call);
        Box::pin(async { answer })
    }
}

/// Never answers, and counts the calls that wait at it.
#[derive(Default)]
pub struct Silent {
    waiting: Arc<AtomicUsize>,
    time_left: Mutex<Option<Duration>>,
}

impl Silent {
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// What the last call was told of the time that its run has left.
    pub fn time_left(&self) -> Option<Duration> {
        *self.time_left.lock().unwrap()
    }
}

impl Door for Silent {
    fn call(&self, _: HostCall, time_left: Duration) -> BoxFuture<'static, Result<HostReply, Denied>> {
        struct Waiting(Arc<AtomicUsize>);
        impl Drop for Waiting {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        *self.time_left.lock().unwrap() = Some(time_left);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting(Arc::clone(&self.waiting));
        Box::pin(async move {
            let _waiting = waiting;
            std::future::pending().await
        })
    }
}

/// Answers after a while, with a runtime of its own as real doors do.
pub struct Slow {
    pub runtime: tokio::runtime::Handle,
    pub after: Duration,
}

impl Door for Slow {
    fn call(&self, _: HostCall, _: Duration) -> BoxFuture<'static, Result<HostReply, Denied>> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let after = self.after;
        self.runtime.spawn(async move {
            tokio::time::sleep(after).await;
            let _ = answer.send(Err(Denied("late".into())));
        });
        Box::pin(async { answered.await.unwrap() })
    }
}

/// Panics.
pub struct Broken;

impl Door for Broken {
    fn call(&self, _: HostCall, _: Duration) -> BoxFuture<'static, Result<HostReply, Denied>> {
        panic!("a door that is broken")
    }
}

/// An allocator that never gives back, grows the memory as it must, and says -1 where it cannot.
pub const BUMP: &str = r#"
    (global $next (mut i32) (i32.const 1024))
    (func $alloc (export "alloc") (param $length i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $next))
      (global.set $next (i32.add (global.get $next) (local.get $length)))
      (loop $grow
        (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
          (then
            (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (return (i32.const -1))))
            (br $grow))))
      (local.get $at))"#;

/// All host functions, by their own names.
pub const IMPORTS: &str = r#"
    (import "host" "host_read_record" (func $read_record (param i32 i32) (result i64)))
    (import "env" "host_read_blob" (func $read_blob (param i32 i32) (result i64)))
    (import "host" "host_list_collection" (func $list_collection (param i32 i32) (result i64)))
    (import "env" "host_get_context" (func $get_context (result i64)))
    (import "host" "host_log" (func $log (param i32 i32 i32)))"#;

/// A guest of `host-v1`, with `run` as its body.
pub fn guest(run: &str) -> String {
    format!(
        r#"(module {IMPORTS} (memory (export "memory") 1) {BUMP}
             (func (export "run") (param $pointer i32) (param $length i32) (result i64) {run}))"#
    )
}

/// A guest that makes one host call with its input, and answers with the reply.
pub fn asking(function: &str) -> String {
    guest(&format!("(call ${function} (local.get $pointer) (local.get $length))"))
}
