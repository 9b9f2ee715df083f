//! Service JWTs.

use data_encoding::BASE64URL_NOPAD;

use super::world::{author, caller, key};

const HEADER: &[u8] = br#"{"typ":"JWT","alg":"ES256K"}"#;
const CLAIMS: &[u8] = br#"{"iss":"did:plc:ewvi7nxzyoun6zhxrhs64oiz","aud":"did:web:fn.example.com","exp":1790000060,"lxm":"at.functions.run"}"#;

/// The first byte chooses: the rest is a whole `Authorization` header, or the claims (or the header) of
/// a token that is then signed rightly, which reaches what no random signature does.
pub fn jwt(input: &[u8]) {
    let Some((how, rest)) = input.split_first() else { return };
    let header = match how % 3 {
        0 => rest.to_vec(),
        1 => signed(HEADER, rest),
        _ => signed(rest, CLAIMS),
    };
    if let Some(caller) = caller(&header) {
        assert_eq!(caller, author());
    }
}

fn signed(header: &[u8], claims: &[u8]) -> Vec<u8> {
    let input = format!("{}.{}", BASE64URL_NOPAD.encode(header), BASE64URL_NOPAD.encode(claims));
    let signature = BASE64URL_NOPAD.encode(&key().sign(input.as_bytes()));
    format!("Bearer {input}.{signature}").into_bytes()
}
