//! Request bodies: decompressed, capped while they stream, and on time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, StatusCode, header};
use http_body_util::BodyExt;

use super::XrpcError;
use super::deadline::Deadline;

/// How long and how much of a refused request's body is read before it is answered, so that a
/// client that is still sending (a PDS that streams) gets the answer rather than a reset.
const DRAIN_TIME: Duration = Duration::from_millis(500);
const DRAIN_BYTES: usize = 4 * 1024 * 1024;

/// Refuses what the body's headers already tell: its type, encoding, and stated length.
pub(super) fn check_headers(headers: &HeaderMap, max_bytes: usize) -> Result<(), XrpcError> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?").trim());
    // Some PDSes forward a POST without its content type, so an absent one is taken for JSON.
    if let Some(content_type) = text(&header::CONTENT_TYPE) {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(XrpcError::invalid_request(format!(
                "Wrong request encoding (Content-Type): {}; send application/json",
                essence.chars().filter(|c| c.is_ascii_graphic()).take(100).collect::<String>()
            )));
        }
    }
    // The decompression layer takes the header away from what it decodes.
    let foreign = |value: &http::HeaderValue| !matches!(value.as_bytes(), b"" | b"identity");
    if headers.get_all(header::CONTENT_ENCODING).iter().any(foreign) {
        return Err(unsupported_encoding());
    }
    match text(&header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if length > max_bytes as u64 => Err(too_large(max_bytes)),
        _ => Ok(()),
    }
}

/// Reads the body to its end. The router's decompression layer has been over it, lazily: what is
/// counted is what comes out, as it comes, so that a small bomb costs no more than `max_bytes`.
pub(super) async fn read(body: &mut Body, max_bytes: usize, deadline: Deadline) -> Result<Bytes, XrpcError> {
    match tokio::time::timeout_at(deadline.body_by().into(), collect(body, max_bytes)).await {
        Ok(collected) => collected,
        Err(_) => Err(XrpcError::invalid_request("the request body did not arrive within 5 s")),
    }
}

/// Reads and drops what a refused request is still sending, within bounds.
pub(super) async fn drain(body: Body) {
    let mut body = body;
    let mut left = DRAIN_BYTES;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(left) => left,
                None => return,
            };
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
}

async fn collect(body: &mut Body, max_bytes: usize) -> Result<Bytes, XrpcError> {
    let mut first = None::<Bytes>;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            XrpcError::invalid_request("the request body broke off or is not in the encoding that it states")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        let length = first.as_ref().map_or(0, Bytes::len) + rest.len() + data.len();
        if length > max_bytes {
            return Err(too_large(max_bytes));
        }
        // Small bodies come as one frame and are not copied.
        match &first {
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    let first = first.unwrap_or_default();
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

fn too_large(max_bytes: usize) -> XrpcError {
    XrpcError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "PayloadTooLarge",
        format!("request entity too large: this service takes up to {max_bytes} bytes"),
    )
}

fn unsupported_encoding() -> XrpcError {
    XrpcError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UnsupportedMediaType",
        "unsupported content-encoding; send identity, gzip, deflate or br",
    )
}
