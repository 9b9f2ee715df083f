/**
 * A function of mode `cstr-v1` that reads the time out of a TID, the sortable key that most records have
 * (https://atproto.com/specs/tid): `{"tid": "3jzfcijpj2z2a"}` →
 * `{"time":"2023-06-30T15:03:01.887Z","microseconds":1688137381887007,"clock":6}`.
 *
 * Strings go both ways as UTF-8 that ends with a zero byte, and so does the outcome of a wrong input:
 * `{"error"}`.
 */

import { stringMember } from "./json";

/** A place of `size` bytes for the host to write the input to. */
export function alloc(size: i32): usize {
  return heap.alloc(size);
}

/** Answers the input at `place` with the place of the output. */
export function execute(place: usize): usize {
  let end = place;
  while (load<u8>(end) != 0) end++;
  const input = String.UTF8.decodeUnsafe(place, end - place);
  return changetype<usize>(String.UTF8.encode(answer(input), true));
}

const ALPHABET = "234567abcdefghijklmnopqrstuvwxyz";
const LENGTH = 13;
const CLOCK_BITS = 10;

function answer(input: string): string {
  const tid = stringMember(input, "tid");
  if (tid === null) return error("tid: a string is expected");
  if (tid.length != LENGTH) return error("tid: 13 characters are expected");
  let bits: u64 = 0;
  for (let n = 0; n < LENGTH; n++) {
    const value = ALPHABET.indexOf(tid.charAt(n));
    if (value < 0) return error("tid: only the digits 2 to 7 and lower-case letters are expected");
    // Thirteen letters have one bit more than the number, whose own highest bit is zero.
    if (n == 0 && value > 7) return error("tid: the first character is one of 234567ab");
    bits = (bits << 5) | value;
  }
  const microseconds = bits >> CLOCK_BITS;
  const clock = bits & ((1 << CLOCK_BITS) - 1);
  const time = new Date(microseconds / 1000).toISOString();
  return `{"time":"${time}","microseconds":${microseconds.toString()},"clock":${clock.toString()}}`;
}

function error(reason: string): string {
  return `{"error":"${reason}"}`;
}
