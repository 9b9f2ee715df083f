/** Text on its way out. */

/** The output that says what is wrong. */
export function error(reason: string): string {
  return `{"error":${quoted(reason)}}`;
}

/** A string of JSON. */
export function quoted(text: string): string {
  let safe = '"';
  for (let n = 0; n < text.length; n++) {
    const code = text.charCodeAt(n);
    if (code == 0x22 || code == 0x5c) safe += "\\" + text.charAt(n);
    else if (code < 0x20) safe += "\\u" + code.toString(16).padStart(4, "0");
    else safe += text.charAt(n);
  }
  return safe + '"';
}

/** Leaves a text to the host: its place in the upper half, its length in the lower. */
export function packed(text: string): u64 {
  const length = String.UTF8.byteLength(text);
  const place = heap.alloc(length);
  String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, place);
  return (<u64>place << 32) | <u64>length;
}
