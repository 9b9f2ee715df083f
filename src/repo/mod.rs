//! Signed repositories: proof of one record from a CAR, and the small writer that makes such repos.
//!
//! In: bytes from a stranger and the key that should have signed them. Out: a record that the
//! author's signature proves, or its proved absence, or the reason why the bytes prove nothing.
//! Never: fetch anything, or believe a block whose hash was not computed here.
