//! Which request is the answer of the login, and what it says (RFC 6749, section 4.1.2; RFC 9207).

use http::header::HOST;
use http::{Method, Request};
use url::form_urlencoded;

use super::super::client::CALLBACK_PATH;

/// What an answer has to say to be the one that is waited for.
pub(in crate::cli::accounts::oauth) struct Expected {
    pub(in crate::cli::accounts::oauth) state: String,
    /// The authorization server that was asked.
    pub(in crate::cli::accounts::oauth) issuer: String,
}

/// What a request is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// For another path, as browsers ask for icons.
    Nothing,
    /// Not of this login: it does not know what only this login's answer can know.
    Stranger,
    Answer(Answer),
}

/// What the authorization server has to say, through the browser.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// To be changed for tokens.
    Code(String),
    /// No, and why.
    Refused { error: String, description: String },
    /// It is of this login, and breaks a rule.
    Forged(&'static str),
}

/// Judges a request to the port that browsers call `host`.
pub(super) fn judge<B>(request: &Request<B>, host: &str, expected: &Expected) -> Verdict {
    if request.uri().path() != CALLBACK_PATH {
        return Verdict::Nothing;
    }
    // Another name for this address is one that somebody's DNS made up (DNS rebinding).
    let named = request.headers().get_all(HOST).iter().map(|name| name.as_bytes()).collect::<Vec<_>>();
    if request.method() != Method::GET || named != [host.as_bytes()] {
        return Verdict::Stranger;
    }
    let query = request.uri().query().unwrap_or_default();
    let value = |wanted: &str| {
        let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == wanted);
        let first = values.next().map(|(_, value)| value.into_owned());
        // Said twice is said by two.
        if values.next().is_some() { Err(()) } else { Ok(first.filter(|value| !value.is_empty())) }
    };
    if value("state") != Ok(Some(expected.state.clone())) {
        return Verdict::Stranger;
    }
    let (Ok(issuer), Ok(code), Ok(error)) = (value("iss"), value("code"), value("error")) else {
        return Verdict::Answer(Answer::Forged("it says a thing twice"));
    };
    Verdict::Answer(match (code, error) {
        // A server that the person was lured to may pass on the answer of another one (mix-up).
        _ if issuer.as_ref() != Some(&expected.issuer) => {
            Answer::Forged("it is not from the authorization server that was asked")
        }
        (Some(code), None) => Answer::Code(code),
        (None, Some(error)) => Answer::Refused {
            error,
            description: value("error_description").ok().flatten().unwrap_or_default(),
        },
        (Some(_), Some(_)) => Answer::Forged("it says both yes and no"),
        (None, None) => Answer::Forged("it says neither yes nor no"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST_NAME: &str = "127.0.0.1:4321";
    const GOOD: &str = "/callback?iss=https%3A%2F%2Fas.example.com&state=s-1&code=c-1";

    fn judged(method: &str, host: &str, target: &str) -> Verdict {
        let request = Request::builder().method(method).uri(target).header(HOST, host).body(()).unwrap();
        let expected = Expected { state: "s-1".into(), issuer: "https://as.example.com".into() };
        judge(&request, HOST_NAME, &expected)
    }

    #[test]
    fn an_answer_of_this_login_is_taken() {
        let code = Verdict::Answer(Answer::Code("c-1".into()));
        assert_eq!(judged("GET", HOST_NAME, GOOD), code);
        assert_eq!(judged("GET", HOST_NAME, &format!("{GOOD}&more=x&error=")), code);
        let no =
            "/callback?state=s-1&iss=https://as.example.com&error=access_denied&error_description=by+you";
        let refused = Answer::Refused { error: "access_denied".into(), description: "by you".into() };
        assert_eq!(judged("GET", HOST_NAME, no), Verdict::Answer(refused));
    }

    #[test]
    fn what_is_not_of_this_login_is_a_stranger() {
        for (method, host, target) in [
            ("GET", HOST_NAME, "/callback"),
            ("GET", HOST_NAME, "/callback?"),
            ("GET", HOST_NAME, "/callback?%%%&=&&state"),
            ("GET", HOST_NAME, "/callback?iss=https://as.example.com&code=c-1"),
            ("GET", HOST_NAME, "/callback?iss=https://as.example.com&code=c-1&state=s-2"),
            ("GET", HOST_NAME, "/callback?iss=https://as.example.com&code=c-1&state="),
            ("GET", HOST_NAME, "/callback?iss=https://as.example.com&code=c-1&state=s-1&state=s-1"),
            ("GET", HOST_NAME, "/callback?error=access_denied"),
            ("POST", HOST_NAME, GOOD),
            ("HEAD", HOST_NAME, GOOD),
            ("GET", "evil.example.com", GOOD),
            ("GET", "localhost:4321", GOOD),
            ("GET", "127.0.0.1", GOOD),
        ] {
            assert_eq!(judged(method, host, target), Verdict::Stranger, "{method} {host} {target}");
        }
        for target in ["/", "/favicon.ico", "/callback/", "/callback2?state=s-1"] {
            assert_eq!(judged("GET", HOST_NAME, target), Verdict::Nothing, "{target}");
        }
        let nameless = Request::builder().uri(GOOD).body(()).unwrap();
        let expected = Expected { state: "s-1".into(), issuer: "https://as.example.com".into() };
        assert_eq!(judge(&nameless, HOST_NAME, &expected), Verdict::Stranger);
    }

    #[test]
    fn an_answer_that_breaks_a_rule_is_no_code() {
        let other = "it is not from the authorization server that was asked";
        for (query, why) in [
            ("state=s-1&code=c-1", other),
            ("state=s-1&code=c-1&iss=https://evil.example.com", other),
            ("state=s-1&code=c-1&iss=https://as.example.com/", other),
            ("state=s-1&error=access_denied&iss=https://evil.example.com", other),
            ("state=s-1&iss=https://as.example.com", "it says neither yes nor no"),
            ("state=s-1&iss=https://as.example.com&code=", "it says neither yes nor no"),
            ("state=s-1&iss=https://as.example.com&code=c&error=e", "it says both yes and no"),
            ("state=s-1&iss=https://as.example.com&code=c&code=d", "it says a thing twice"),
            (
                "state=s-1&iss=https://as.example.com&iss=https://evil.example.com&code=c",
                "it says a thing twice",
            ),
        ] {
            let verdict = judged("GET", HOST_NAME, &format!("/callback?{query}"));
            assert_eq!(verdict, Verdict::Answer(Answer::Forged(why)), "{query}");
        }
    }
}
