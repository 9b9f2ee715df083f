//! Who we are to an authorization server: a program on somebody's machine, which can keep no secret of its own.
//!
//! Such a client needs no registration and no web server: its id says what its metadata would
//! (<https://atproto.com/specs/oauth#localhost-client-development>).

use url::form_urlencoded::Serializer;

/// The path that the browser is sent back to.
pub(super) const CALLBACK_PATH: &str = "/callback";
/// The same with the address, which servers match without the port (RFC 8252, section 7.3).
const REDIRECT_URI: &str = "http://127.0.0.1/callback";

/// What the commands do in an account's name, and no more (<https://atproto.com/specs/permission>): `deploy` uploads
/// code, commands write records of three collections, and `invoke`, `describe` and `--wait` call services through the PDS.
pub(super) const SCOPE: &str = "atproto blob:application/wasm repo:at.functions.grant repo:at.functions.metadata \
     repo:com.atproto.lexicon.schema rpc?lxm=at.functions.describe&lxm=at.functions.run&aud=*";

/// What each kind of permission is asked for.
const KINDS: [(&str, &str); 3] = [
    ("blob", "uploading code (`deploy`)"),
    ("repo", "writing records (`deploy`, `grant`, `lexicon publish`)"),
    ("rpc", "calling services (`invoke`)"),
];

/// A client of authorization servers.
pub(super) struct Client {
    pub(super) id: String,
}

impl Client {
    /// This program. Its id is the same on every machine and for every login: it names no port.
    pub(super) fn of_this_program() -> Client {
        let query = Serializer::new(String::new())
            .append_pair("redirect_uri", REDIRECT_URI)
            .append_pair("scope", SCOPE)
            .finish();
        Client { id: format!("http://localhost?{query}") }
    }
}

/// What was asked for and not granted. Servers may write scopes in other words, so the kinds alone are compared.
pub(super) fn missing(granted: &str) -> Vec<&'static str> {
    let has = |kind: &str| {
        granted.split_ascii_whitespace().any(|scope| {
            let is_of_kind =
                scope.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '?']));
            is_of_kind || scope == "transition:generic" || scope.starts_with("include:")
        })
    };
    KINDS.iter().filter(|(kind, _)| !has(kind)).map(|(_, what)| *what).collect()
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn the_id_says_what_metadata_would() {
        let id = Client::of_this_program().id;
        assert!(
            id.starts_with(
                "http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback&scope=atproto+blob"
            ),
            "{id}"
        );
        let pairs: Vec<(String, String)> = Url::parse(&id).unwrap().query_pairs().into_owned().collect();
        let expected = [("redirect_uri", "http://127.0.0.1/callback"), ("scope", SCOPE)];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_was_not_granted_is_told_by_what_it_is_for() {
        assert!(missing(SCOPE).is_empty());
        assert!(missing("atproto transition:generic").is_empty());
        assert!(missing("atproto include:at.functions.authAuthor").is_empty());
        let all = KINDS.map(|(_, what)| what);
        assert_eq!(missing("atproto"), all);
        assert_eq!(missing("atproto repository blobs:x rpcs"), all);
        assert_eq!(missing("atproto rpc?lxm=a.b.c&aud=* blob:*/*"), [all[1]]);
    }
}
