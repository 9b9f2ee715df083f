/**
 * Reads JSON (RFC 8259) off its bytes, a value at a time, and keeps nothing of what it steps over: a page of a
 * collection is mostly that. What stands there comes from the host, which lets nothing but JSON in.
 */

const enum Byte {
  Tab = 0x09,
  LineFeed = 0x0a,
  CarriageReturn = 0x0d,
  Space = 0x20,
  Quote = 0x22,
  Comma = 0x2c,
  Minus = 0x2d,
  Zero = 0x30,
  Nine = 0x39,
  Colon = 0x3a,
  OpenBracket = 0x5b,
  Backslash = 0x5c,
  CloseBracket = 0x5d,
  OpenBrace = 0x7b,
  CloseBrace = 0x7d,
}

export class Reader {
  private at: usize;
  private readonly end: usize;

  /** Of `length` bytes at `place`. */
  constructor(place: usize, length: i32) {
    this.at = place;
    this.end = place + length;
  }

  /** Steps into an object (`{`) or list (`[`), if that is next. */
  enters(bracket: string): bool {
    return this.takes(bracket.charCodeAt(0));
  }

  /** The name of the object's next member; null at its end, which is stepped over. */
  key(): string | null {
    if (this.takes(Byte.CloseBrace)) return null;
    this.takes(Byte.Comma);
    if (this.next() != Byte.Quote) return null;
    const key = this.said();
    this.takes(Byte.Colon);
    return key;
  }

  /** Whether the list has one more item, which is next then; its end is stepped over. */
  hasItem(): bool {
    if (this.takes(Byte.CloseBracket)) return false;
    this.takes(Byte.Comma);
    return this.next() != 0;
  }

  /** What a string says; null, and stepped over, if it is something else. */
  string(): string | null {
    if (this.next() == Byte.Quote) return this.said();
    this.skip();
    return null;
  }

  /** A whole number of up to 18 digits; -1, and stepped over, if it is something else. */
  integer(): i64 {
    const from = this.at;
    if (this.next() < Byte.Zero || this.next() > Byte.Nine) {
      this.skip();
      return -1;
    }
    let number: i64 = 0;
    for (; this.at < this.end; this.at++) {
      const digit = <i32>load<u8>(this.at) - Byte.Zero;
      if (digit < 0 || digit > 9) break;
      number = number * 10 + digit;
    }
    const isWhole = this.next() == Byte.Comma || this.next() == Byte.CloseBrace || this.next() == Byte.CloseBracket;
    if (isWhole && this.at - from <= 18) return number;
    this.skip();
    return -1;
  }

  /** Steps over a value of any kind. */
  skip(): void {
    let depth = 0;
    for (let next = this.next(); next != 0; next = this.next()) {
      const closes = next == Byte.CloseBrace || next == Byte.CloseBracket;
      if (depth == 0 && (closes || next == Byte.Comma)) return;
      if (next == Byte.Quote) {
        this.skipString();
        continue;
      }
      if (next == Byte.OpenBrace || next == Byte.OpenBracket) depth++;
      if (closes) depth--;
      this.at++;
    }
  }

  /** The next byte that is no white space; 0 at the end. */
  private next(): i32 {
    while (this.at < this.end && isSpace(load<u8>(this.at))) this.at++;
    return this.at < this.end ? load<u8>(this.at) : 0;
  }

  private takes(byte: i32): bool {
    if (this.next() != byte) return false;
    this.at++;
    return true;
  }

  /** Steps over a string whose opening quote is next; the result is whether it has escapes. */
  private skipString(): bool {
    let escapes = false;
    for (this.at++; this.at < this.end; this.at++) {
      const byte = <i32>load<u8>(this.at);
      if (byte == Byte.Quote) break;
      if (byte != Byte.Backslash) continue;
      escapes = true;
      this.at++;
    }
    this.at++;
    return escapes;
  }

  /** What a string says, whose opening quote is next. */
  private said(): string {
    const from = this.at + 1;
    const escapes = this.skipString();
    const text = String.UTF8.decodeUnsafe(from, this.at - 1 - from);
    return escapes ? unescaped(text) : text;
  }
}

function isSpace(byte: i32): bool {
  return byte == Byte.Space || byte == Byte.LineFeed || byte == Byte.CarriageReturn || byte == Byte.Tab;
}

/** The two halves of a surrogate pair are a character together. */
function unescaped(text: string): string {
  let said = "";
  let from = 0;
  for (let at = text.indexOf("\\"); at >= 0; at = text.indexOf("\\", from)) {
    said += text.substring(from, at);
    const letter = text.charAt(at + 1);
    if (letter == "u") {
      said += String.fromCharCode(<i32>parseInt(text.substr(at + 2, 4), 16));
      from = at + 6;
    } else {
      const known = "bfnrt".indexOf(letter);
      said += known < 0 ? letter : "\b\f\n\r\t".charAt(known);
      from = at + 2;
    }
  }
  return said + text.substring(from);
}
