/** The accounts that are compared, and whom each follows as far as that was read. */

import { list, timeLeft } from "./host";
import { quoted } from "./text";

/** Left for the answer, in milliseconds: what the slowest page that is still begun may take. */
const RESERVE_MS = 1000;
/** Pages that are read at most: services let the functions of one author ask a host for some hundreds at once. */
const MOST_PAGES = 300;

class Account {
  /** Where the next page begins; empty before the first one. */
  cursor: string = "";
  /** Whether all pages were read. */
  complete: bool = false;
  /** How many different accounts it follows. */
  follows: i32 = 0;

  constructor(
    /** DID or handle, as the caller has it. */
    readonly name: string,
  ) {}
}

export class Accounts {
  private readonly accounts: Array<Account>;
  /** Who follows a DID: a bit for each account. */
  private readonly followers: Map<string, u8> = new Map();

  constructor(names: Array<string>) {
    this.accounts = names.map<Account>((name) => new Account(name));
  }

  /**
   * Reads page after page, of each account in turn: should the time not do for all, it does for something of each.
   * The result is what went wrong, if something did.
   */
  read(): string | null {
    let pages = 0;
    for (let isOver = false; !isOver; ) {
      isOver = true;
      for (let n = 0; n < this.accounts.length; n++) {
        const account = this.accounts[n];
        if (account.complete) continue;
        if (pages == MOST_PAGES || timeLeft() < RESERVE_MS) return null;
        pages++;
        isOver = false;
        const page = list(account.name, "app.bsky.graph.follow", account.cursor);
        const fault = page.error;
        if (fault !== null) return `${account.name}: ${fault}`;
        for (let m = 0; m < page.subjects.length; m++) this.add(page.subjects[m], n);
        // A host that gives the same cursor again would keep this going until the time is over.
        account.complete = page.cursor == "" || page.cursor == account.cursor;
        account.cursor = page.cursor;
      }
    }
    return null;
  }

  private add(did: string, n: i32): void {
    const before = this.followers.has(did) ? this.followers.get(did) : <u8>0;
    const after = before | (<u8>1 << <u8>n);
    if (after == before) return;
    this.accounts[n].follows++;
    this.followers.set(did, after);
  }

  /** The answer, with the first `limit` DIDs that all follow, in the order of the alphabet. */
  output(limit: i32): string {
    const all = <u8>((<u32>1 << this.accounts.length) - 1);
    const dids = this.followers.keys();
    const common = new Array<string>();
    for (let n = 0; n < dids.length; n++) {
      if (this.followers.get(dids[n]) == all) common.push(dids[n]);
    }
    common.sort();
    let complete = true;
    const accounts = new Array<string>();
    for (let n = 0; n < this.accounts.length; n++) {
      const account = this.accounts[n];
      complete = complete && account.complete;
      accounts.push(
        `{"account":${quoted(account.name)},"follows":${account.follows},"complete":${account.complete}}`,
      );
    }
    const shown = common.slice(0, limit).map<string>((did) => quoted(did)).join(",");
    const head = `{"accounts":[${accounts.join(",")}],"common":${common.length}`;
    return `${head},"dids":[${shown}],"complete":${complete}}`;
  }
}
