//! HTTP and XRPC: the envelope around a call.
//!
//! In: bytes from anybody. Out: an answer in the shapes of the lexicon, within nine seconds.
//! Never: answer 500, show a path, an address or an environment of the host, or decide who may call.
