//! Who somebody is: DIDs, handles, DID documents, keys.
//!
//! In: a DID or handle as text, and the network through `egress`.
//! Out: checked identifiers, and documents whose `id` is the DID that was asked for.
//! Never: decide what anybody may do, or take a handle's word without its DID's.

mod did;
mod handle;
mod key;
mod service;
pub mod service_key;

pub use did::{Did, DidMethod, InvalidDid};
pub use handle::{Handle, InvalidHandle};
pub use key::{BadSignature, Curve, InvalidKey, PublicKey, SigningKey};
pub use service::{
    Hostname, InvalidService, SERVICE_TYPE, ServiceId, ServiceRef, service_document, web_origin,
};
