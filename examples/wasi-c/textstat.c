/* A function of mode wasi-v1 that counts what is in a text:
 * {"text": "one two\n"} -> {"bytes":8,"characters":8,"words":2,"lines":1}
 *
 * The input stands on stdin, the output goes to stdout. On a wrong input it says why on stderr and ends with
 * status 1, which is how a program says that it failed. The input is read as it comes, so any length takes the
 * same memory. */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- what is counted ---- */

struct counts {
  unsigned long bytes, characters, words, lines;
  bool in_word;
};

static bool is_space(long character) {
  return character == ' ' || (character >= '\t' && character <= '\r');
}

static void count(struct counts *counts, long character) {
  counts->characters += 1;
  counts->bytes += character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
  counts->lines += character == '\n';
  bool space = is_space(character);
  counts->words += !space && !counts->in_word;
  counts->in_word = !space;
}

/* ---- JSON (RFC 8259), as far as it takes to find one member; the host lets nothing else in ---- */

/* What is deeper is no input of ours: hosts accept 127 levels. */
enum { MAX_DEPTH = 128 };

/* One byte ahead; EOF at the end. */
static int next;

static void advance(void) { next = getchar(); }

static _Noreturn void fail(const char *reason) {
  fputs(reason, stderr);
  fputc('\n', stderr);
  exit(1);
}

static void skip_space(void) {
  while (next == ' ' || next == '\t' || next == '\n' || next == '\r') advance();
}

static void expect(int byte) {
  if (next != byte) fail("input: malformed JSON");
  advance();
}

static long hex4(void) {
  long value = 0;
  for (int n = 0; n < 4; n++, advance()) {
    int digit = next >= '0' && next <= '9'   ? next - '0'
                : next >= 'a' && next <= 'f' ? next - 'a' + 10
                : next >= 'A' && next <= 'F' ? next - 'A' + 10
                                             : -1;
    if (digit < 0) fail("input: malformed escape");
    value = value << 4 | digit;
  }
  return value;
}

/* What follows a backslash. Two escapes together make a character above U+FFFF. */
static long escaped(void) {
  int letter = next;
  advance();
  switch (letter) {
    case '"': case '\\': case '/': return letter;
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'u': break;
    default: fail("input: malformed escape");
  }
  long unit = hex4();
  if (unit < 0xd800 || unit > 0xdfff) return unit;
  if (unit > 0xdbff) fail("input: half a surrogate pair");
  expect('\\');
  expect('u');
  long low = hex4();
  if (low < 0xdc00 || low > 0xdfff) fail("input: half a surrogate pair");
  return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
}

/* A character of more than one byte in UTF-8, of which `first` has been read. */
static long multibyte(int first) {
  int more = first >= 0xf0 && first < 0xf8 ? 3 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xc2 && first < 0xe0 ? 1 : 0;
  if (more == 0) fail("input: no UTF-8");
  long character = first & (0x3f >> more);
  for (; more > 0; more--, advance()) {
    if ((next & 0xc0) != 0x80 || next == EOF) fail("input: no UTF-8");
    character = character << 6 | (next & 0x3f);
  }
  return character;
}

/* The next character of a string whose opening quote has been read, or -1 at the closing one. */
static long character(void) {
  int byte = next;
  if (byte == EOF || byte < 0x20) fail("input: a string does not end");
  advance();
  if (byte == '"') return -1;
  if (byte == '\\') return escaped();
  return byte < 0x80 ? byte : multibyte(byte);
}

static void skip_string(void) {
  expect('"');
  while (character() >= 0) continue;
}

/* Skips a value of any kind: strings count as one, brackets as depth, all else is of no interest. */
static void skip_value(void) {
  int depth = 0;
  bool any = false;
  for (;;) {
    skip_space();
    if (depth == 0 && any && (next == ',' || next == '}')) return;
    any = true;
    if (next == '"') {
      skip_string();
      continue;
    }
    if (next == EOF) fail("input: malformed JSON");
    if (next == '{' || next == '[') depth += 1;
    if (next == '}' || next == ']') depth -= 1;
    if (depth < 0 || depth > MAX_DEPTH) fail("input: malformed JSON");
    advance();
  }
}

/* Whether the string that follows is `word`. Reads it to its end. */
static bool is_string(const char *word) {
  bool same = true;
  expect('"');
  for (long found; (found = character()) >= 0;) {
    same = same && *word != '\0' && found == (unsigned char)*word;
    if (same) word++;
  }
  return same && *word == '\0';
}

int main(void) {
  struct counts counts;
  bool found = false;

  advance();
  skip_space();
  if (next != '{') fail("input: an object is expected");
  do {
    advance();
    skip_space();
    if (next == '}') break;
    bool is_text = is_string("text");
    skip_space();
    expect(':');
    skip_space();
    if (is_text && next == '"') {
      /* Of members of the same name the last one counts. */
      counts = (struct counts){0};
      found = true;
      advance();
      for (long one; (one = character()) >= 0;) count(&counts, one);
      skip_space();
    } else {
      if (is_text) found = false;
      skip_value();
    }
  } while (next == ',');
  expect('}');
  if (!found) fail("text: a string is expected");

  printf("{\"bytes\":%lu,\"characters\":%lu,\"words\":%lu,\"lines\":%lu}\n", counts.bytes, counts.characters,
         counts.words, counts.lines);
  return fflush(stdout) == 0 ? 0 : 1;
}
