//! The only way out to the network.
//!
//! In: a URL with budgets of time and bytes. Out: a bounded answer, or why there is none.
//! Never: reach an address that is not public unicast (unless the operator lifted that for
//! development), follow a redirect unchecked, or use a proxy or cookie.
