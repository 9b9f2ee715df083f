//! Who somebody is: DIDs, handles, DID documents, keys.
//!
//! In: a DID or handle as text, and the network through `egress`.
//! Out: checked identifiers, and documents whose `id` is the DID that was asked for.
//! Never: decide what anybody may do, or take a handle's word without its DID's.
//!
//! The way of a question: `resolver` asks its `cache`; what is not known there is fetched once, from
//! the PLC directory, the DID's host or (`handles`) the DNS, and read by `document`. Whether the PDS that a
//! document names has the account, only the PDS says (`hosting`).

mod cache;
mod did;
mod document;
mod error;
mod handle;
mod handles;
mod hosting;
mod key;
mod resolver;
mod service;
pub mod service_key;

pub use did::{Did, DidMethod, InvalidDid};
pub(crate) use did::{are_dns_labels, is_domain_name};
pub use document::{DidDocument, InvalidDocument};
pub use error::IdentityError;
pub use handle::{Handle, InvalidHandle};
pub use hosting::{Hosting, PdsHost};
pub use key::{BadSignature, Curve, InvalidKey, PublicKey, SigningKey};
pub use resolver::{Resolver, ResolverConfig};
pub use service::{
    Hostname, InvalidService, SERVICE_TYPE, ServiceId, ServiceRef, service_document, web_origin,
};
