//! What is known of this call.

use crate::raw;

/// What is known of this call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// DID of the caller, verified by the signature of its token; none if the call is anonymous.
    pub caller: Option<String>,
    /// The function's at-uri, with its author's DID.
    pub function: String,
    /// CID of the function's record.
    pub function_cid: String,
    /// Names this call, in the answer and in the logs of the service.
    pub request_id: String,
}

/// What is known of this call.
///
/// ```
/// use at_functions::testing::World;
///
/// let caller = World::new().caller("did:plc:alice").run(|| at_functions::context().caller);
/// assert_eq!(caller.as_deref(), Some("did:plc:alice"));
/// ```
pub fn context() -> Context {
    raw::context()
}

/// What is left of the run's `maxDurationMs`, in milliseconds. Host calls count.
///
/// ```
/// # use at_functions::testing::World;
/// World::new().run(|| {
///     while at_functions::remaining_ms() > 1_000 {
///         // one more page
/// #       break;
///     }
/// });
/// ```
pub fn remaining_ms() -> u32 {
    raw::remaining_ms()
}
