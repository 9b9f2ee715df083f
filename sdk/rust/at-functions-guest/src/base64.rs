//! Base64 as the host writes it: the standard alphabet, with padding (RFC 4648, section 4).

/// The bytes of `text`, or nothing if it is no base64.
#[cfg_attr(any(feature = "component", not(target_arch = "wasm32")), allow(dead_code))]
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for &letter in group {
            bits = (bits << 6) | value(letter)?;
        }
        // Six bits a letter; what does not fill a byte is padding.
        let whole = group.len() * 6 / 8;
        bits <<= 32 - group.len() * 6;
        bytes.extend_from_slice(bits.to_be_bytes().get(..whole)?);
    }
    Some(bytes)
}

fn value(letter: u8) -> Option<u32> {
    let value = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn the_vectors_of_the_rfc_decode() {
        let cases = [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")];
        for (text, bytes) in cases {
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(decode("/+A=").unwrap(), [0xff, 0xe0]);
        assert_eq!(decode("Zm9-"), None);
    }
}
