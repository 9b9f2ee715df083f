//! Who is calling: the inter-service JWT, verified.
//!
//! In: the `Authorization` header and the method called. Out: the caller's DID, proved, or one of
//! the 401 errors. Never: know what a function is, or run anything before the token is proved.
