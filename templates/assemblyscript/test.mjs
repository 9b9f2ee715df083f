// Runs the built module as a service does.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

async function call(input) {
  const { instance } = await WebAssembly.instantiate(await readFile("build/my-function.wasm"));
  const { memory, alloc, execute } = instance.exports;
  const bytes = new TextEncoder().encode(JSON.stringify(input) + "\0");
  const place = alloc(bytes.length);
  new Uint8Array(memory.buffer, place).set(bytes);
  const output = new Uint8Array(memory.buffer).subarray(execute(place));
  return JSON.parse(new TextDecoder().decode(output.subarray(0, output.indexOf(0))));
}

assert.deepEqual(await call({ text: "one two" }), { words: 2 });
assert.deepEqual(await call({ text: " \n" }), { words: 0 });
assert.deepEqual(await call({}), { error: "text: a string is expected" });
console.log("ok");
