//! Code goes to the author's PDS as a blob: `deploy` and `rollback`.

use std::path::Path;

use serde::Deserialize;

use super::Tools;
use super::client::{Xrpc, host_of};
use super::error::CliError;
use super::output;
use super::record::Code;
use super::session::Session;
use crate::repo::blob_cid;

/// What a PDS that states no limit usually takes.
pub(super) const USUAL_BLOB_LIMIT: u64 = 5 * 1024 * 1024;
/// The type that code is uploaded as.
pub(super) const WASM: &str = "application/wasm";

/// Refuses code that the PDS would refuse after all of it was sent.
pub(super) async fn fits(tools: &Tools, session: &Session, file: &Path, size: u64) -> Result<(), CliError> {
    match blob_limit(&session.xrpc(&tools.http)).await {
        Some(limit) if size > limit => {
            let why = format!(
                "it has {}, and your PDS {} takes files of up to {}: make it smaller, or ask the PDS's operator to raise PDS_BLOB_UPLOAD_LIMIT",
                output::size(size),
                host_of(session.pds()),
                output::size(limit)
            );
            Err(CliError::setting(file.display().to_string(), why))
        }
        None if size > USUAL_BLOB_LIMIT => {
            output::note(&format!(
                "note: the file has {}, and your PDS does not say how large one may be; many take up to 5 MiB",
                output::size(size)
            ));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The limit that the PDS states, if it does; its silence or failure here stops nothing.
async fn blob_limit(pds: &Xrpc<'_>) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Output {
        blob_upload_limit: Option<u64>,
    }
    let no_parameters: [(&str, &str); 0] = [];
    let output: Output = pds.query("com.atproto.server.describeServer", no_parameters).await.ok()?;
    output.blob_upload_limit
}

/// Uploads the code, and holds what the PDS made of it against what was sent.
pub(super) async fn upload(
    tools: &Tools,
    session: &Session,
    file: &Path,
    bytes: Vec<u8>,
) -> Result<Code, CliError> {
    #[derive(Deserialize)]
    struct Output {
        blob: Blob,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Blob {
        r#ref: Link,
        mime_type: String,
        size: u64,
    }
    #[derive(Deserialize)]
    struct Link {
        #[serde(rename = "$link")]
        link: String,
    }
    let size = bytes.len() as u64;
    let host = host_of(session.pds());
    output::progress(&format!("uploading {} ({}) to {host} ...", file.display(), output::size(size)));
    let cid = blob_cid(&bytes);
    let pds = session.xrpc(&tools.http);
    let Output { blob } = pds.upload("com.atproto.repo.uploadBlob", WASM, bytes).await?;
    if blob.r#ref.link != cid.to_string() || blob.size != size {
        let why = "the blob that it stored is not the file that was sent".to_owned();
        return Err(CliError::Unusable { host, why });
    }
    Ok(Code { cid: blob.r#ref.link, mime_type: blob.mime_type, size })
}
