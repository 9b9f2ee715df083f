//! The pool that sandboxes run in: admission, compilation, and the queue of runs.
//!
//! In: code by CID and jobs. Out: artifacts and outcomes. Never: interpret what a guest answered.
