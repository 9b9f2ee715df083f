/* The probe as a component that was a module of WASI preview 1: what a compiler for that target writes, with
 * the functions of the world as the canonical ABI has them in a core module
 * (https://github.com/WebAssembly/component-model/blob/main/design/mvp/CanonicalABI.md). */

#include "probe.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* result<string, string> */
struct text_or_error {
  uint32_t is_error;
  const char *text;
  size_t length;
};

__attribute__((import_module("atfunc:runtime/atproto@0.1.0"), import_name("read-record"))) void
read_record(const char *at_uri, size_t length, struct text_or_error *result);

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align,
                                                                size_t size) {
  (void)old_size;
  if (size == 0) return (void *)align;
  void *place = realloc(old, size);
  if (place == NULL) abort();
  return place;
}

__attribute__((export_name("run"))) struct text_or_error *run(char *input, size_t length) {
  static struct text_or_error answer;
  static char output[8192];
  char *text = malloc(length + 1);
  if (text == NULL) abort();
  memcpy(text, input, length);
  text[length] = '\0';

  if (strncmp(text, "\"at://", 6) == 0) {
    /* The input is an at-uri between quotes. */
    read_record(text + 1, length - 2, &answer);
    return &answer;
  }
  if (strcmp(text, "\"fail\"") == 0) {
    answer = (struct text_or_error){1, "the probe was told to fail", 26};
    return &answer;
  }
  probe(text, output, sizeof output);
  puts("the probe is done");
  fflush(stdout);
  answer = (struct text_or_error){0, output, strlen(output)};
  return &answer;
}
