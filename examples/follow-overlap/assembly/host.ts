/** What this function asks its host for. A request goes as JSON, and so does the reply come. */

import { Reader } from "./json";
import { quoted } from "./text";

// @ts-ignore: decorator
@external("host", "host_list_collection")
declare function hostList(place: usize, length: i32): u64;

// @ts-ignore: decorator
@external("host", "host_get_context")
declare function hostContext(): u64;

/** Records in a page: as many as services give. */
const PAGE = 100;

/** A page of follows. */
export class Page {
  /** Who is followed. */
  readonly subjects: Array<string> = new Array();
  /** For the next page; empty after the last. */
  cursor: string = "";
  /** Why there is none. */
  error: string | null = null;
}

/** A page of a collection, as the repo's host gives it: nothing proves it. */
export function list(repo: string, collection: string, cursor: string): Page {
  const goesOn = cursor == "" ? "" : `,"cursor":${quoted(cursor)}`;
  const request = String.UTF8.encode(
    `{"repo":${quoted(repo)},"collection":${quoted(collection)},"limit":${PAGE}${goesOn}}`,
  );
  const reply = hostList(changetype<usize>(request), request.byteLength);
  const page = pageIn(reader(reply));
  heap.free(place(reply));
  return page;
}

/** What is left of the run's time, in milliseconds. */
export function timeLeft(): i64 {
  const reply = hostContext();
  const left = integerIn(reader(reply), "timeLeftMs");
  heap.free(place(reply));
  return left;
}

function place(reply: u64): usize {
  return <usize>(reply >> 32);
}

function reader(reply: u64): Reader {
  return new Reader(place(reply), <i32>reply);
}

function pageIn(reply: Reader): Page {
  const page = new Page();
  reply.enters("{");
  for (let key = reply.key(); key !== null; key = reply.key()) {
    if (key == "records" && reply.enters("[")) {
      while (reply.hasItem()) follow(reply, page);
    } else if (key == "cursor") {
      const cursor = reply.string();
      if (cursor !== null) page.cursor = cursor;
    } else if (key == "error") {
      page.error = reply.string();
    } else {
      reply.skip();
    }
  }
  return page;
}

/** Reads a record. People write what they like into their repos: what is no follow of somebody counts as none. */
function follow(record: Reader, page: Page): void {
  if (!record.enters("{")) return record.skip();
  for (let key = record.key(); key !== null; key = record.key()) {
    if (key != "value" || !record.enters("{")) {
      record.skip();
      continue;
    }
    let subject: string | null = null;
    for (let member = record.key(); member !== null; member = record.key()) {
      if (member == "subject") subject = record.string();
      else record.skip();
    }
    if (subject !== null && subject.startsWith("did:")) page.subjects.push(subject);
  }
}

function integerIn(object: Reader, name: string): i64 {
  let found: i64 = 0;
  object.enters("{");
  for (let key = object.key(); key !== null; key = object.key()) {
    if (key == name) found = object.integer();
    else object.skip();
  }
  return found;
}
