//! The pages that the browser shows at the end. Nothing of a request is on them.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::answer::Answer;

/// For the answer that was waited for.
pub(super) fn of(answer: &Answer) -> Response<Full<Bytes>> {
    match answer {
        Answer::Code(_) => page(
            StatusCode::OK,
            "Almost done",
            "Go back to the terminal, which finishes the login. You can close this page.",
        ),
        Answer::Refused { .. } => page(
            StatusCode::OK,
            "Not logged in",
            "The login was refused, and nothing was kept. Go back to the terminal. You can close this page.",
        ),
        Answer::Forged(_) => page(
            StatusCode::BAD_REQUEST,
            "Not logged in",
            "This answer breaks a rule, and nothing was kept. Go back to the terminal, which says more.",
        ),
    }
}

/// For an answer after the first.
pub(super) fn answered() -> Response<Full<Bytes>> {
    page(
        StatusCode::CONFLICT,
        "Answered already",
        "This login has its answer. Go back to the terminal. You can close this page.",
    )
}

/// For what is not of this login.
pub(super) fn stranger() -> Response<Full<Bytes>> {
    page(
        StatusCode::BAD_REQUEST,
        "Not this login",
        "This is not the answer that the terminal waits for. Open the link that stands there.",
    )
}

/// For other paths.
pub(super) fn nothing() -> Response<Full<Bytes>> {
    page(StatusCode::NOT_FOUND, "Nothing here", "Only a login of at-functions ends here.")
}

fn page(status: StatusCode, title: &'static str, text: &'static str) -> Response<Full<Bytes>> {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title} - at-functions</title>\n<h1>{title}</h1>\n<p>{text}</p>\n</html>\n"
    );
    let mut response = Response::new(Full::from(html));
    *response.status_mut() = status;
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        // The address holds a code, if one that is used up.
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
