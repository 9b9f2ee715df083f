/** Counts the words of a text: `{"text": "one two"}` → `{"words": 2}` */

import { stringMember } from "./json";

function answer(input: string): string {
  const text = stringMember(input, "text");
  if (text === null) return `{"error":"text: a string is expected"}`;
  let words = 0;
  let inside = false;
  for (let n = 0; n < text.length; n++) {
    const isSpace = text.charCodeAt(n) <= 0x20;
    if (inside == isSpace) {
      inside = !isSpace;
      if (inside) words++;
    }
  }
  return `{"words":${words}}`;
}

/** A place of `size` bytes for the host to write the input to. */
export function alloc(size: i32): usize {
  return heap.alloc(size);
}

/** Answers the input at `place` with the place of the output: UTF-8 that ends with a zero byte, both ways. */
export function execute(place: usize): usize {
  let end = place;
  while (load<u8>(end) != 0) end++;
  const input = String.UTF8.decodeUnsafe(place, end - place);
  return changetype<usize>(String.UTF8.encode(answer(input), true));
}
