//! From an at-uri to a function whose author's signature proves it.
//!
//! In: an at-uri. Out: the proved record, its metadata, and the wasm bytes whose hash it names; all
//! cached and coalesced. Never: hand out anything that was not verified here.
