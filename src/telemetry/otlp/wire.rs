//! Protocol Buffers, as far as they are written here.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use bytes::{BufMut as _, Bytes, BytesMut};

/// A message that is being written. Fields that have their type's zero are left out, as readers expect.
#[derive(Default)]
pub(super) struct Message(BytesMut);

/// How the value of a field is written.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Delimited = 2,
}

impl Message {
    /// An enumeration or an integer that is not negative.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, Wire::Varint);
            self.varint(value);
        }
    }

    /// A `fixed64`.
    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, Wire::Fixed64);
            self.0.put_u64_le(value);
        }
    }

    /// A `double`, which stands also where it is zero: it is always one of several kinds of value.
    pub(super) fn double(&mut self, field: u32, value: f64) {
        self.tag(field, Wire::Fixed64);
        self.0.put_f64_le(value);
    }

    /// A `bytes`.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.delimited(field, value);
        }
    }

    /// A `string`.
    pub(super) fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// A message in this one, also an empty one.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        write(&mut inner);
        self.delimited(field, &inner.0);
    }

    /// What was written.
    pub(super) fn finish(self) -> Bytes {
        self.0.freeze()
    }

    fn delimited(&mut self, field: u32, value: &[u8]) {
        self.tag(field, Wire::Delimited);
        self.varint(value.len() as u64);
        self.0.put_slice(value);
    }

    fn tag(&mut self, field: u32, wire: Wire) {
        self.varint(u64::from(field) << 3 | wire as u64);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.put_u8(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_the_source_has_them() {
        let written = |write: &dyn Fn(&mut Message)| {
            let mut message = Message::default();
            write(&mut message);
            message.finish().to_vec()
        };
        // The examples of the source: `a: 150`, `b: "testing"`, and a message in a message.
        assert_eq!(written(&|message| message.number(1, 150)), [0x08, 0x96, 0x01]);
        assert_eq!(written(&|message| message.text(2, "testing")), *b"\x12\x07testing");
        let inner = written(&|message| message.message(3, |inner| inner.number(1, 150)));
        assert_eq!(inner, [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let time = written(&|message| message.fixed64(7, 1));
        assert_eq!(time, [0x39, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(written(&|message| message.number(16, u64::MAX)).len(), 12);
        let zeros = written(&|message| {
            message.number(1, 0);
            message.text(2, "");
            message.fixed64(3, 0);
            message.message(4, |_| {});
        });
        assert_eq!(zeros, [0x22, 0]);
        assert_eq!(written(&|message| message.double(4, 0.0)), [0x21, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
