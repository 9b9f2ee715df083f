/** As much of JSON (RFC 8259) as it takes to find one member. The host lets nothing but JSON in. */

/** The string that the object `json` has as member `name`, the last one if there are several. */
export function stringMember(json: string, name: string): string | null {
  const scanner = new Scanner(json);
  let found: string | null = null;
  if (!scanner.skip(CharCode.OpenBrace)) return null;
  while (scanner.peek() == CharCode.Quote) {
    const key = scanner.string();
    if (!scanner.skip(CharCode.Colon)) return null;
    const isString = scanner.peek() == CharCode.Quote;
    const value = scanner.value();
    if (key == name) found = isString ? value : null;
    if (!scanner.skip(CharCode.Comma)) break;
  }
  return scanner.skip(CharCode.CloseBrace) ? found : null;
}

const enum CharCode {
  Tab = 0x09,
  LineFeed = 0x0a,
  CarriageReturn = 0x0d,
  Space = 0x20,
  Quote = 0x22,
  Comma = 0x2c,
  Colon = 0x3a,
  OpenBracket = 0x5b,
  Backslash = 0x5c,
  CloseBracket = 0x5d,
  OpenBrace = 0x7b,
  CloseBrace = 0x7d,
}

class Scanner {
  private at: i32 = 0;

  constructor(private readonly text: string) {}

  /** The next character that is no whitespace; -1 at the end. */
  peek(): i32 {
    while (this.at < this.text.length && isSpace(this.text.charCodeAt(this.at))) this.at++;
    return this.at < this.text.length ? this.text.charCodeAt(this.at) : -1;
  }

  /** Steps over `code`, if it is next. */
  skip(code: i32): bool {
    if (this.peek() != code) return false;
    this.at++;
    return true;
  }

  /** A value of any kind. Of a string, what it says; of all else, nothing. */
  value(): string {
    if (this.peek() == CharCode.Quote) return this.string();
    let depth = 0;
    for (let next = this.peek(); next >= 0; next = this.peek()) {
      if (depth == 0 && (next == CharCode.Comma || next == CharCode.CloseBrace)) break;
      if (next == CharCode.Quote) {
        this.string();
        continue;
      }
      if (next == CharCode.OpenBrace || next == CharCode.OpenBracket) depth++;
      if (next == CharCode.CloseBrace || next == CharCode.CloseBracket) depth--;
      this.at++;
    }
    return "";
  }

  /** What a string says, whose opening quote is next. */
  string(): string {
    this.at++;
    let said = "";
    let from = this.at;
    while (this.at < this.text.length) {
      const code = this.text.charCodeAt(this.at);
      if (code == CharCode.Quote) break;
      if (code != CharCode.Backslash) {
        this.at++;
        continue;
      }
      said += this.text.substring(from, this.at) + this.escaped();
      from = this.at;
    }
    said += this.text.substring(from, this.at);
    this.at++;
    return said;
  }

  /** What an escape says. The two halves of a surrogate pair are a character together. */
  private escaped(): string {
    const letter = this.text.charAt(this.at + 1);
    this.at += 2;
    if (letter == "u") {
      const unit = this.text.substr(this.at, 4);
      this.at += 4;
      return String.fromCharCode(<i32>parseInt(unit, 16));
    }
    const at = "bfnrt".indexOf(letter);
    return at < 0 ? letter : "\b\f\n\r\t".charAt(at);
  }
}

function isSpace(code: i32): bool {
  return (
    code == CharCode.Space || code == CharCode.LineFeed || code == CharCode.CarriageReturn || code == CharCode.Tab
  );
}
