/**
 * Whom do several accounts follow together? `{"accounts": ["did:plc:...", "bob.example.com"], "limit": 20}` →
 * `{"accounts": [{"account", "follows", "complete"}], "common": 3, "dids": [...], "complete": true}`.
 *
 * A function of mode `host-v1`: JSON goes both ways in UTF-8, as place and length packed into one integer. A wrong
 * input is answered with `{"error"}`.
 */

import { Accounts } from "./accounts";
import { Reader } from "./json";
import { error, packed } from "./text";

const FEWEST_ACCOUNTS = 2;
const MOST_ACCOUNTS = 8;
const USUAL_LIMIT = 20;
const HIGHEST_LIMIT = 1000;

/** A place of `size` bytes for the host to write the input and its replies to. */
export function alloc(size: i32): usize {
  return heap.alloc(size);
}

/** Answers the input of `length` bytes at `place`. */
export function run(place: usize, length: i32): u64 {
  return packed(answer(new Reader(place, length)));
}

function answer(input: Reader): string {
  const names = new Array<string>();
  let limit: i64 = USUAL_LIMIT;
  if (!input.enters("{")) return error("input: an object with `accounts` is expected");
  for (let key = input.key(); key !== null; key = input.key()) {
    if (key == "accounts") {
      if (!input.enters("[")) return error("accounts: a list of DIDs or handles is expected");
      while (input.hasItem()) {
        const name = input.string();
        if (name === null) return error("accounts: a list of DIDs or handles is expected");
        // The same account twice would follow all that it follows.
        if (!names.includes(name)) names.push(name);
      }
    } else if (key == "limit") {
      limit = input.integer();
    } else {
      input.skip();
    }
  }
  if (names.length < FEWEST_ACCOUNTS || names.length > MOST_ACCOUNTS) {
    return error(`accounts: ${FEWEST_ACCOUNTS} to ${MOST_ACCOUNTS} different ones are expected, not ${names.length}`);
  }
  if (limit < 1 || limit > HIGHEST_LIMIT) return error(`limit: a number from 1 to ${HIGHEST_LIMIT} is expected`);
  const accounts = new Accounts(names);
  const fault = accounts.read();
  return fault === null ? accounts.output(<i32>limit) : error(fault);
}
