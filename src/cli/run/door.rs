//! The doors of a run on this machine.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::sandbox::{BoxFuture, Denied, Door, HostCall, HostReply};

/// Refusals that are kept for the author; the rest is counted.
const KEPT: usize = 10;

/// A door that keeps what was refused through it, since many a guest swallows that.
pub(super) struct Watched {
    door: Arc<dyn Door>,
    seen: Arc<Mutex<Denials>>,
}

/// The reads that a run was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Denials {
    /// Why, once each.
    pub(super) first: Vec<String>,
    /// How many refusals there were.
    pub(super) total: usize,
}

impl Watched {
    pub(super) fn new(door: Arc<dyn Door>) -> Watched {
        Watched { door, seen: Arc::default() }
    }

    /// What was refused so far.
    pub(super) fn denied(&self) -> Denials {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Door for Watched {
    fn call(&self, call: HostCall, time_left: Duration) -> BoxFuture<'static, Result<HostReply, Denied>> {
        let (answer, seen) = (self.door.call(call, time_left), Arc::clone(&self.seen));
        Box::pin(async move {
            let answer = answer.await;
            if let Err(Denied(why)) = &answer {
                seen.lock().unwrap_or_else(PoisonError::into_inner).add(why);
            }
            answer
        })
    }
}

impl Denials {
    fn add(&mut self, why: &str) {
        self.total += 1;
        if self.first.len() < KEPT && !self.first.iter().any(|known| known == why) {
            self.first.push(why.to_owned());
        }
    }
}

/// The door of a run without a network.
pub(super) struct Offline;

impl Door for Offline {
    fn call(&self, call: HostCall, _: Duration) -> BoxFuture<'static, Result<HostReply, Denied>> {
        let what = match call {
            HostCall::ListCollection { repo, collection, .. } => format!("list at://{repo}/{collection}"),
            HostCall::ReadBlob { cid, repo: Some(repo) } => format!("read blob {cid} of {repo}"),
            HostCall::ReadBlob { cid, repo: None } => format!("read blob {cid} of the author"),
            HostCall::ReadRecord { at_uri } => format!("read {at_uri}"),
        };
        let why = format!("cannot {what}: this run is offline (`at-functions run --online` lets it read)");
        Box::pin(async { Err(Denied(why)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(door: &impl Door, call: HostCall) -> String {
        let answer = door.call(call, Duration::ZERO);
        futures_util::FutureExt::now_or_never(answer).unwrap().unwrap_err().0
    }

    #[test]
    fn an_offline_run_is_told_what_it_could_not_read_and_how_it_could() {
        let (repo, cid) = (String::from("a.com"), String::from("bafk"));
        let list = HostCall::ListCollection {
            repo: repo.clone(),
            collection: "x.y.z".into(),
            cursor: None,
            limit: 1,
        };
        let cases = [
            (list, "cannot list at://a.com/x.y.z: this run is offline"),
            (HostCall::ReadBlob { cid: cid.clone(), repo: Some(repo) }, "cannot read blob bafk of a.com:"),
            (HostCall::ReadBlob { cid, repo: None }, "cannot read blob bafk of the author:"),
            (HostCall::ReadRecord { at_uri: "at://a.com/x.y.z/k".into() }, "cannot read at://a.com/x.y.z/k:"),
        ];
        for (call, start) in cases {
            let why = ask(&Offline, call);
            assert!(why.starts_with(start) && why.contains("--online"), "{why}");
        }
    }

    #[test]
    fn refusals_are_kept_once_each_and_counted() {
        let door = Watched::new(Arc::new(Offline));
        for key in (0..20).chain(0..20) {
            ask(&door, HostCall::ReadRecord { at_uri: format!("at://a.com/x.y.z/{key}") });
        }
        let denied = door.denied();
        assert_eq!((denied.first.len(), denied.total), (KEPT, 40));
        assert!(denied.first[9].contains("at://a.com/x.y.z/9"), "{denied:?}");
    }
}
