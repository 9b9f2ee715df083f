//! HTTP and XRPC: the envelope around a call.
//!
//! In: bytes from anybody. Out: an answer in the shapes of the lexicon, within nine seconds.
//! Never: answer 500, show a path, an address or an environment of the host, or decide who may call.
//!
//! `call` reads like the way of a call, and `describe` like its beginning; the other files are what they lean on.

mod admin;
mod admission;
mod answer;
mod body;
mod call;
mod call_log;
mod connection;
mod deadline;
mod describe;
mod descriptors;
mod envelope;
mod error;
mod execute;
mod figures;
mod isolation;
mod issuers;
mod limited;
mod listen;
mod readiness;
mod recall;
mod repeats;
mod request_id;
mod routes;
mod schemas;
mod service;
mod stages;
mod trace_parent;

pub use admin::Admin;
pub use error::XrpcError;
pub(crate) use execute::{MAX_HOST_BYTES, MAX_HOST_CALLS};
pub(crate) use figures::{Line, rounded_millis};
pub use isolation::sandbox;
pub use listen::{Listener, serve};
pub use readiness::{Part, Readiness, Reason};
pub use routes::router;
pub(crate) use schemas::{INVALID_INPUT, invalid_input_message, misfit};
pub use service::{Service, StartError};
#[doc(hidden)]
pub use stages::Stages;
