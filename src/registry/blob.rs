//! Blobs, fetched from the PDS of the account that has them and matched against their CID.

use std::time::Duration;

use bytes::Bytes;
use ipld_core::cid::Cid;

use crate::egress::{Redirects, Response};
use crate::lexicon::CodeRef;
use crate::repo::blob_cid;

use super::error::Unproved;
use super::home::{self, Errand, Question};
use super::{Missing, RegistryError, Sources};

/// The largest blob that is fetched, as code or for a guest.
pub const MAX_BLOB_BYTES: usize = 10 * 1024 * 1024;
/// How long a PDS has to send it.
const TIMEOUT: Duration = Duration::from_secs(6);
/// PDSes that keep blobs elsewhere redirect there; each hop is checked as the first address is.
const REDIRECTS: u8 = 3;
/// A type and a subtype have at most 127 characters each (RFC 6838 section 4.2).
const MAX_MIME_BYTES: usize = 127 + 1 + 127;

/// Bytes that hash to the CID that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// What the PDS says they are: a media type without parameters, in lower case. A claim.
    pub mime_type: String,
    /// The bytes.
    pub bytes: Bytes,
}

/// Fetches the blob from where its owner's document says.
pub(super) async fn fetch(sources: &Sources, errand: &Errand, cid: &Cid) -> Result<Blob, RegistryError> {
    let cid_text = cid.to_string();
    home::wherever_it_lives(sources, errand, |document| {
        let parameters = [("did", errand.repo.as_str()), ("cid", cid_text.as_str())];
        async move {
            let question = Question {
                method: "com.atproto.sync.getBlob",
                parameters: &parameters,
                accept: "*/*",
                max_bytes: MAX_BLOB_BYTES,
                timeout: TIMEOUT,
                redirects: Redirects::Follow(REDIRECTS),
            };
            match home::ask(sources, &document, errand, question).await {
                Ok(response) => verified(response, cid),
                Err(RegistryError::NotFound(Missing::Refused | Missing::Repo)) => {
                    Err(RegistryError::BlobMissing(cid.to_string()))
                }
                Err(other) => Err(other),
            }
        }
    })
    .await
}

fn verified(response: Response, cid: &Cid) -> Result<Blob, RegistryError> {
    if blob_cid(&response.body) != *cid {
        return Err(RegistryError::Unproved(Unproved::BlobHash));
    }
    Ok(Blob { mime_type: mime_type(response.content_type.as_deref()), bytes: response.body })
}

/// The media type of a `Content-Type` (RFC 9110 section 8.3), or the one that says nothing.
fn mime_type(header: Option<&str>) -> String {
    let essence = header.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let restricted = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    let fits = essence.len() <= MAX_MIME_BYTES
        && essence.split_once('/').is_some_and(|(kind, subtype)| restricted(kind) && restricted(subtype));
    if fits { essence.to_ascii_lowercase() } else { "application/octet-stream".to_owned() }
}

/// Whether a record's blob has the size that this record states: another record may state another.
pub(super) fn check_size(code: &CodeRef, bytes: u64) -> Result<(), RegistryError> {
    match code.size {
        Some(size) if size != bytes => Err(RegistryError::Unproved(Unproved::CodeSize)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_two_plain_names_or_says_nothing() {
        let cases = [
            (Some("image/png"), "image/png"),
            (Some("Image/PNG"), "image/png"),
            (Some(" text/plain ; charset=utf-8"), "text/plain"),
            (Some("application/vnd.ipld.car+x"), "application/vnd.ipld.car+x"),
            (Some("image"), "application/octet-stream"),
            (Some("image/"), "application/octet-stream"),
            (Some("/png"), "application/octet-stream"),
            (Some("image/png/x"), "application/octet-stream"),
            (Some("image/p ng"), "application/octet-stream"),
            (Some("text/html<script>"), "application/octet-stream"),
            (Some("text/\"x\""), "application/octet-stream"),
            (Some(""), "application/octet-stream"),
            (None, "application/octet-stream"),
        ];
        for (header, expected) in cases {
            assert_eq!(mime_type(header), expected, "{header:?}");
        }
        let long = format!("a/{}", "b".repeat(MAX_MIME_BYTES));
        assert_eq!(mime_type(Some(&long)), "application/octet-stream");
    }
}
